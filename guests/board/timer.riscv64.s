# arch: riscv64
# board: riscv64-virt
# address: 0x80000000
# purpose: Counts timer interrupts on the bare machine: programs the timer, sleeps with wfi, prints each interrupt
#     through the serial port and asks for the next, five times a millisecond apart; then powers off.
# args: none
# stdin: not read
# stdout: the lines "timer N", from 1 to 5
# status: 0; 1 when a trap comes that is none of the timer's
# test: stdout="timer 1\ntimer 2\ntimer 3\ntimer 4\ntimer 5\n"

        .equ    FINISHER, 0x100000
        .equ    MTIMECMP, 0x2004000
        .equ    MTIME, 0x200bff8
        .equ    UART, 0x10000000
        .equ    INTERVAL, 10000         // ticks of 100 ns

_start:
        la      sp, stack_end
        la      t0, handler
        csrw    mtvec, t0
        call    next_timer
        li      t0, 0x80                // MTIE
        csrw    mie, t0
        csrsi   mstatus, 8              // MIE
        li      s0, 5
sleep:
        wfi
        la      t0, interrupts
        ld      t1, 0(t0)
        bltu    t1, s0, sleep
        li      t0, FINISHER
        li      t1, 0x5555              // pass
        sw      t1, 0(t0)
stop:
        j       stop

next_timer:                             // mtimecmp = mtime + INTERVAL
        li      t0, MTIME
        ld      t1, 0(t0)
        li      t2, INTERVAL
        add     t1, t1, t2
        li      t0, MTIMECMP
        sd      t1, 0(t0)
        ret

        .p2align 2
handler:
        addi    sp, sp, -48
        sd      ra, 0(sp)
        sd      t0, 8(sp)
        sd      t1, 16(sp)
        sd      t2, 24(sp)
        sd      a0, 32(sp)
        csrr    t0, mcause
        li      t1, -1
        slli    t1, t1, 63
        addi    t1, t1, 7               // interrupt, machine timer
        bne     t0, t1, unexpected
        la      t0, interrupts
        ld      t1, 0(t0)
        addi    t1, t1, 1
        sd      t1, 0(t0)
        la      a0, text
        call    print
        la      t0, interrupts
        ld      t1, 0(t0)
        addi    t1, t1, 48
        li      t0, UART
        sb      t1, 0(t0)
        li      t1, 10
        sb      t1, 0(t0)
        call    next_timer
        ld      ra, 0(sp)
        ld      t0, 8(sp)
        ld      t1, 16(sp)
        ld      t2, 24(sp)
        ld      a0, 32(sp)
        addi    sp, sp, 48
        mret
unexpected:
        li      t0, FINISHER
        li      t1, 0x13333             // fail, status 1
        sw      t1, 0(t0)
        j       stop

print:                                  // a0: text that ends in NUL
        li      t0, UART
print_byte:
        lbu     t1, 0(a0)
        beqz    t1, printed
wait_empty:
        lbu     t2, 5(t0)               // line status: transmitter empty?
        andi    t2, t2, 0x20
        beqz    t2, wait_empty
        sb      t1, 0(t0)
        addi    a0, a0, 1
        j       print_byte
printed:
        ret

text:
        .asciz  "timer "

# data
interrupts:
        .quad   0
        .space  4096
stack_end:
        .quad   0
