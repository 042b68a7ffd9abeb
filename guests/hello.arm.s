# arch: arm
# purpose: The smallest program that says something.
# args: none
# stdin: not read
# stdout: one line
# status: 0
# test: stdout="hello from arm\n"

_start:
        mov     r7, #4                  // write(1, message, length)
        mov     r0, #1
        adr     r1, message
        mov     r2, #15
        svc     #0
        mov     r7, #248                // exit_group(0)
        mov     r0, #0
        svc     #0

message:
        .ascii  "hello from arm\n"
