# arch: i386
# purpose: Follows a wild pointer: a store to address 16, where nothing is ever mapped.
# args: none
# stdin: not read
# stdout: one line before the crash
# status: 139 (signal 11, SIGSEGV)
# test: stdout="going wild\n" status=139

_start:
        mov     eax, 4
        mov     ebx, 1
        lea     ecx, [message]
        mov     edx, message_end - message
        int     0x80
        mov     eax, 16
crash:
        mov     dword ptr [eax], 1
        mov     eax, 252                // never reached
        xor     ebx, ebx
        int     0x80

message:
        .ascii  "going wild\n"
message_end:
