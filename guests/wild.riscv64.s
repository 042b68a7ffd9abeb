# arch: riscv64
# purpose: Follows a wild pointer: a store to address 16, where nothing is ever mapped.
# args: none
# stdin: not read
# stdout: one line before the crash
# status: 139 (signal 11, SIGSEGV)
# test: stdout="going wild\n" status=139

_start:
        li      a7, 64
        li      a0, 1
        la      a1, message
        la      a2, message_end
        sub     a2, a2, a1
        ecall
        li      a0, 16
crash:
        sd      a0, 0(a0)
        li      a7, 94                  // never reached
        li      a0, 0
        ecall

message:
        .ascii  "going wild\n"
message_end:
