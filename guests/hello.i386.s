# arch: i386
# purpose: The smallest program that says something.
# args: none
# stdin: not read
# stdout: one line
# status: 0
# test: stdout="hello from i386\n"

_start:
        mov     eax, 4                  // write(1, message, length)
        mov     ebx, 1
        lea     ecx, [message]
        mov     edx, message_end - message
        int     0x80
        mov     eax, 252                // exit_group(0)
        xor     ebx, ebx
        int     0x80

message:
        .ascii  "hello from i386\n"
message_end:
