# arch: riscv64
# board: riscv64-virt
# address: 0x80000000
# purpose: Echoes the serial port in upper case, by interrupts: the UART's line through the interrupt controller
#     wakes it from wfi. Control-D powers off.
# args: none
# stdin: text; byte 4 (control-D) ends it
# stdout: the same text, letters in upper case
# status: 0; 1 when a trap comes that is none of the serial port's
# test: stdin="\x04" stdout=""
# test: stdin="Hello, board 1!\n\x04" stdout="HELLO, BOARD 1!\n"
# test: stdin="more than sixteen bytes do not fit into the FIFO at once\n\x04"
#     stdout="MORE THAN SIXTEEN BYTES DO NOT FIT INTO THE FIFO AT ONCE\n"

        .equ    FINISHER, 0x100000
        .equ    PLIC, 0xc000000
        .equ    PLIC_ENABLE, 0xc002000
        .equ    PLIC_CLAIM, 0xc200004
        .equ    UART, 0x10000000
        .equ    UART_SOURCE, 10

_start:
        la      t0, handler
        csrw    mtvec, t0
        li      s1, UART
        li      s2, PLIC_CLAIM
        li      t0, PLIC
        li      t1, 1
        sw      t1, 4*UART_SOURCE(t0)   // priority 1
        li      t0, PLIC_ENABLE
        li      t1, 1 << UART_SOURCE
        sw      t1, 0(t0)
        li      t0, 1
        sb      t0, 2(s1)               // FIFO on
        sb      t0, 1(s1)               // interrupt when data is there
        li      t0, 0x800               // MEIE
        csrw    mie, t0
        csrsi   mstatus, 8              // MIE
sleep:
        wfi
        j       sleep

        .p2align 2
handler:                                // nothing runs beside it: every register is its own
        csrr    t0, mcause
        li      t1, -1
        slli    t1, t1, 63
        addi    t1, t1, 11              // interrupt, machine external
        bne     t0, t1, unexpected
        lw      s3, 0(s2)               // claim
        li      t0, UART_SOURCE
        bne     s3, t0, unexpected
receive:
        lbu     t0, 5(s1)
        andi    t0, t0, 1
        beqz    t0, received
        lbu     t0, 0(s1)
        li      t1, 4
        beq     t0, t1, power_off
        addi    t1, t0, -97             // a to z
        li      t2, 26
        bgeu    t1, t2, send
        addi    t0, t0, -32
send:
        sb      t0, 0(s1)
        j       receive
received:
        sw      s3, 0(s2)               // complete
        mret
power_off:
        li      t1, 0x5555
        j       finish
unexpected:
        li      t1, 0x13333
finish:
        li      t0, FINISHER
        sw      t1, 0(t0)
stop:
        j       stop
