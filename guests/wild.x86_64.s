# arch: x86_64
# purpose: Follows a wild pointer: a store to address 16, where nothing is ever mapped.
# args: none
# stdin: not read
# stdout: one line before the crash
# status: 139 (signal 11, SIGSEGV)
# test: stdout="going wild\n" status=139

_start:
        mov     eax, 1
        mov     edi, 1
        lea     rsi, [rip + message]
        mov     edx, message_end - message
        syscall
        mov     eax, 16
crash:
        mov     qword ptr [rax], 1
        mov     eax, 231                // never reached
        xor     edi, edi
        syscall

message:
        .ascii  "going wild\n"
message_end:
