# arch: arm64
# purpose: Copies its input to its output, and copes with short writes.
# args: none
# stdin: anything, to its end
# stdout: the same bytes
# status: 0; 1 when a read or a write fails
# test: stdin="" stdout=""
# test: stdin="one\ntwo\n" stdout="one\ntwo\n"
# test: stdin="\x00\xff no newline" stdout="\x00\xff no newline"

_start:
        adr     x19, buffer
read:
        mov     x8, #63                 // read(0, buffer, size)
        mov     x0, #0
        mov     x1, x19
        mov     x2, #65536
        svc     #0
        cmp     x0, #0
        b.eq    done
        b.lt    failed
        mov     x20, x19                // x20: next byte to write, x21: bytes left
        mov     x21, x0
write:
        mov     x8, #64
        mov     x0, #1
        mov     x1, x20
        mov     x2, x21
        svc     #0
        cmp     x0, #0
        b.lt    failed
        add     x20, x20, x0
        subs    x21, x21, x0
        b.ne    write
        b       read
failed:
        mov     x0, #1
        b       exit
done:
        mov     x0, #0
exit:
        mov     x8, #94
        svc     #0

# data
buffer:
        .space  65536
