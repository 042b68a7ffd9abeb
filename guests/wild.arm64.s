# arch: arm64
# purpose: Follows a wild pointer: a store to address 16, where nothing is ever mapped.
# args: none
# stdin: not read
# stdout: one line before the crash
# status: 139 (signal 11, SIGSEGV)
# test: stdout="going wild\n" status=139

_start:
        mov     x8, #64
        mov     x0, #1
        adr     x1, message
        adr     x2, message_end
        sub     x2, x2, x1
        svc     #0
        mov     x0, #16
crash:
        str     x0, [x0]
        mov     x8, #94                 // never reached
        mov     x0, #0
        svc     #0

message:
        .ascii  "going wild\n"
message_end:
