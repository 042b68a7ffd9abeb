# arch: riscv64
# purpose: Sorts lines by their bytes: pointers, insertion sort, string comparison.
# args: none
# stdin: at most 65535 bytes and 4096 lines; the last line may lack its line end
# stdout: the lines, sorted, each with a line end
# status: 0; 1 when a read fails or the input is too large
# test: stdin="" stdout=""
# test: stdin="pear\napple\nfig\n" stdout="apple\nfig\npear\n"
# test: stdin="b\n\na\nab\nB\na" stdout="\nB\na\na\nab\nb\n"

        .equ    SIZE, 65536
        .equ    LINES, 4096

_start:
        la      s0, buffer
        li      s1, 0                   // bytes read
        li      s2, SIZE
        li      s9, 10
read:
        sub     a2, s2, s1
        beqz    a2, failed              // full: too large
        li      a7, 63
        li      a0, 0
        add     a1, s0, s1
        ecall
        bltz    a0, failed
        beqz    a0, split
        add     s1, s1, a0
        j       read
split:
        beqz    s1, done
        add     s3, s0, s1              // end
        lbu     t0, -1(s3)
        beq     t0, s9, complete
        sb      s9, 0(s3)
        addi    s3, s3, 1
complete:
        la      s4, table               // pointers to lines
        mv      s5, s4                  // where the next pointer would go
        li      t0, 8*LINES
        add     s6, s4, t0              // end of the table
        mv      a1, s0
line:
        bgeu    s5, s6, failed
        mv      t0, s5                  // the line at a1 is inserted at t0
shift:
        beq     t0, s4, insert
        ld      t1, -8(t0)
        mv      t2, t1
        mv      t3, a1
compare:                                // is the line at t1 greater than the one at a1?
        lbu     t4, 0(t2)
        lbu     t5, 0(t3)
        addi    t2, t2, 1
        addi    t3, t3, 1
        beq     t4, s9, insert          // the line at t1 ends first, or both do: not greater
        beq     t5, s9, move
        beq     t4, t5, compare
        bltu    t4, t5, insert
move:
        sd      t1, 0(t0)
        addi    t0, t0, -8
        j       shift
insert:
        sd      a1, 0(t0)
        addi    s5, s5, 8
skip:
        lbu     t0, 0(a1)
        addi    a1, a1, 1
        bne     t0, s9, skip
        bltu    a1, s3, line
        mv      s7, s4
print:
        ld      a1, 0(s7)
        mv      a2, a1
measure:
        lbu     t0, 0(a2)
        addi    a2, a2, 1
        bne     t0, s9, measure
        sub     a2, a2, a1
        li      a7, 64
        li      a0, 1
        ecall
        addi    s7, s7, 8
        bltu    s7, s5, print
done:
        li      a0, 0
        j       exit
failed:
        li      a0, 1
exit:
        li      a7, 94
        ecall

# data
table:
        .space  8*LINES
buffer:
        .space  SIZE
