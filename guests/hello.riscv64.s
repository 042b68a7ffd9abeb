# arch: riscv64
# purpose: The smallest program that says something.
# args: none
# stdin: not read
# stdout: one line
# status: 0
# test: stdout="hello from riscv64\n"

_start:
        li      a7, 64                  // write(1, message, length)
        li      a0, 1
        la      a1, message
        la      a2, message_end
        sub     a2, a2, a1
        ecall
        li      a7, 94                  // exit_group(0)
        li      a0, 0
        ecall

message:
        .ascii  "hello from riscv64\n"
message_end:
