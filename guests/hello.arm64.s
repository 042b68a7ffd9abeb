# arch: arm64
# purpose: The smallest program that says something.
# args: none
# stdin: not read
# stdout: one line
# status: 0
# test: stdout="hello from arm64\n"

_start:
        mov     x8, #64                 // write(1, message, length)
        mov     x0, #1
        adr     x1, message
        adr     x2, message_end
        sub     x2, x2, x1
        svc     #0
        mov     x8, #94                 // exit_group(0)
        mov     x0, #0
        svc     #0

message:
        .ascii  "hello from arm64\n"
message_end:
