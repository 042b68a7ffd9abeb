# arch: riscv64
# purpose: Copies its input to its output, and copes with short writes.
# args: none
# stdin: anything, to its end
# stdout: the same bytes
# status: 0; 1 when a read or a write fails
# test: stdin="" stdout=""
# test: stdin="one\ntwo\n" stdout="one\ntwo\n"
# test: stdin="\x00\xff no newline" stdout="\x00\xff no newline"

_start:
        la      s0, buffer
read:
        li      a7, 63                  // read(0, buffer, size)
        li      a0, 0
        mv      a1, s0
        li      a2, 65536
        ecall
        beqz    a0, done
        bltz    a0, failed
        mv      s1, s0                  // s1: next byte to write, s2: bytes left
        mv      s2, a0
write:
        li      a7, 64
        li      a0, 1
        mv      a1, s1
        mv      a2, s2
        ecall
        bltz    a0, failed
        add     s1, s1, a0
        sub     s2, s2, a0
        bnez    s2, write
        j       read
failed:
        li      a0, 1
        j       exit
done:
        li      a0, 0
exit:
        li      a7, 94
        ecall

# data
buffer:
        .space  65536
