# arch: arm
# purpose: Does nothing, for ever: the shortest endless loop there is.
# args: none
# stdin: not read
# stdout: nothing
# status: never exits
# test: endless

_start:
        b       _start
