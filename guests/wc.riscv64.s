# arch: riscv64
# purpose: Counts lines, words and bytes; a word is a run of bytes that are neither blank, tab nor line end.
# args: none
# stdin: anything, to its end
# stdout: three numbers, separated by blanks
# status: 0; 1 when a read fails
# test: stdin="" stdout="0 0 0\n"
# test: stdin="one two\n  three\n\nfour" stdout="3 4 21\n"
# test: stdin="\n\n\n" stdout="3 0 3\n"

_start:
        li      s0, 0                   // lines
        li      s1, 0                   // words
        li      s2, 0                   // bytes
        li      s3, 0                   // 1 within a word
        la      s4, buffer
read:
        li      a7, 63
        li      a0, 0
        mv      a1, s4
        li      a2, 65536
        ecall
        bltz    a0, failed
        beqz    a0, print
        add     s2, s2, a0
        mv      a1, s4
        add     a2, s4, a0              // end of what was read
        li      t1, 10
        li      t2, 32
        li      t3, 9
byte_loop:
        lbu     t0, 0(a1)
        addi    a1, a1, 1
        bne     t0, t1, no_line
        addi    s0, s0, 1
        j       gap
no_line:
        beq     t0, t2, gap
        beq     t0, t3, gap
        bnez    s3, byte_next
        li      s3, 1
        addi    s1, s1, 1
        j       byte_next
gap:
        li      s3, 0
byte_next:
        bne     a1, a2, byte_loop
        j       read
print:
        mv      a0, s0
        li      t1, 32
        call    print_number
        mv      a0, s1
        li      t1, 32
        call    print_number
        mv      a0, s2
        li      t1, 10
        call    print_number
        li      a0, 0
        j       exit
failed:
        li      a0, 1
exit:
        li      a7, 94
        ecall

print_number:                           // a0: the number, t1: the byte to print after it
        addi    sp, sp, -48
        addi    a1, sp, 47
        sb      t1, 0(a1)
        li      t0, 10
digit:
        remu    t1, a0, t0
        divu    a0, a0, t0
        addi    t1, t1, 48
        addi    a1, a1, -1
        sb      t1, 0(a1)
        bnez    a0, digit
        addi    a2, sp, 48
        sub     a2, a2, a1
        li      a7, 64
        li      a0, 1
        ecall
        addi    sp, sp, 48
        ret

# data
buffer:
        .space  65536
