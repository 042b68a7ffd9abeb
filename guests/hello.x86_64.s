# arch: x86_64
# purpose: The smallest program that says something.
# args: none
# stdin: not read
# stdout: one line
# status: 0
# test: stdout="hello from x86_64\n"

_start:
        mov     eax, 1                  // write(1, message, length)
        mov     edi, 1
        lea     rsi, [rip + message]
        mov     edx, message_end - message
        syscall
        mov     eax, 231                // exit_group(0)
        xor     edi, edi
        syscall

message:
        .ascii  "hello from x86_64\n"
message_end:
