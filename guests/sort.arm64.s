# arch: arm64
# purpose: Sorts lines by their bytes: pointers, insertion sort, string comparison.
# args: none
# stdin: at most 65535 bytes and 4096 lines; the last line may lack its line end
# stdout: the lines, sorted, each with a line end
# status: 0; 1 when a read fails or the input is too large
# test: stdin="" stdout=""
# test: stdin="pear\napple\nfig\n" stdout="apple\nfig\npear\n"
# test: stdin="b\n\na\nab\nB\na" stdout="\nB\na\na\nab\nb\n"

        .equ    SIZE, 65536
        .equ    LINES, 4096

_start:
        ldr     x19, =buffer
        mov     x20, #0                 // bytes read
        mov     x9, #SIZE
read:
        subs    x2, x9, x20
        b.eq    failed                  // full: too large
        mov     x8, #63
        mov     x0, #0
        add     x1, x19, x20
        svc     #0
        cmp     x0, #0
        b.lt    failed
        b.eq    split
        add     x20, x20, x0
        b       read
split:
        cbz     x20, done
        add     x10, x19, x20           // end
        ldrb    w0, [x10, #-1]
        cmp     w0, #10
        b.eq    complete
        mov     w0, #10
        strb    w0, [x10], #1
complete:
        ldr     x21, =table             // pointers to lines
        mov     x22, #0                 // how many
        mov     x1, x19
line:
        cmp     x22, #LINES
        b.hs    failed
        mov     x3, x22                 // the line at x1 is inserted before the place x3
shift:
        cbz     x3, insert
        sub     x4, x3, #1
        ldr     x5, [x21, x4, lsl #3]
        mov     x6, x5
        mov     x7, x1
compare:                                // is the line at x5 greater than the one at x1?
        ldrb    w11, [x6], #1
        ldrb    w12, [x7], #1
        cmp     w11, #10
        b.eq    insert                  // the line at x5 ends first, or both do: not greater
        cmp     w12, #10
        b.eq    move
        cmp     w11, w12
        b.eq    compare
        b.lo    insert
move:
        str     x5, [x21, x3, lsl #3]
        mov     x3, x4
        b       shift
insert:
        str     x1, [x21, x3, lsl #3]
        add     x22, x22, #1
skip:
        ldrb    w0, [x1], #1
        cmp     w0, #10
        b.ne    skip
        cmp     x1, x10
        b.lo    line
        mov     x23, #0
print:
        ldr     x1, [x21, x23, lsl #3]
        mov     x2, x1
measure:
        ldrb    w0, [x2], #1
        cmp     w0, #10
        b.ne    measure
        sub     x2, x2, x1
        mov     x8, #64
        mov     x0, #1
        svc     #0
        add     x23, x23, #1
        cmp     x23, x22
        b.lo    print
done:
        mov     x0, #0
        b       exit
failed:
        mov     x0, #1
exit:
        mov     x8, #94
        svc     #0

# data
table:
        .space  8*LINES
buffer:
        .space  SIZE
