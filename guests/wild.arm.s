# arch: arm
# purpose: Follows a wild pointer: a store to address 16, where nothing is ever mapped.
# args: none
# stdin: not read
# stdout: one line before the crash
# status: 139 (signal 11, SIGSEGV)
# test: stdout="going wild\n" status=139

_start:
        mov     r7, #4
        mov     r0, #1
        adr     r1, message
        mov     r2, #11
        svc     #0
        mov     r0, #16
crash:
        str     r0, [r0]
        mov     r7, #248                // never reached
        mov     r0, #0
        svc     #0

message:
        .ascii  "going wild\n"
