# arch: arm
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
        ldr     r4, =buffer
        mov     r5, #0                  // bytes read
read:
        rsbs    r2, r5, #SIZE
        beq     failed                  // full: too large
        mov     r7, #3
        mov     r0, #0
        add     r1, r4, r5
        svc     #0
        cmp     r0, #0
        blt     failed
        addne   r5, r5, r0
        bne     read
        cmp     r5, #0
        beq     done
        add     r5, r4, r5              // end
        ldrb    r0, [r5, #-1]
        cmp     r0, #10
        movne   r0, #10
        strbne  r0, [r5], #1
        ldr     r6, =table              // pointers to lines
        mov     r8, r6                  // where the next pointer would go
        add     r9, r6, #(4*LINES)      // end of the table
        mov     r1, r4
line:
        cmp     r8, r9
        bhs     failed
        mov     r3, r8                  // the line at r1 is inserted at r3
shift:
        cmp     r3, r6
        beq     insert
        ldr     r10, [r3, #-4]
        mov     r0, r10
        mov     r2, r1
compare:                                // is the line at r10 greater than the one at r1?
        ldrb    r11, [r0], #1
        ldrb    r12, [r2], #1
        cmp     r11, #10
        beq     insert                  // the line at r10 ends first, or both do: not greater
        cmp     r12, #10
        beq     move
        cmp     r11, r12
        beq     compare
        blo     insert
move:
        str     r10, [r3], #-4
        b       shift
insert:
        str     r1, [r3]
        add     r8, r8, #4
skip:
        ldrb    r0, [r1], #1
        cmp     r0, #10
        bne     skip
        cmp     r1, r5
        blo     line
print:
        ldr     r1, [r6], #4
        mov     r2, r1
measure:
        ldrb    r0, [r2], #1
        cmp     r0, #10
        bne     measure
        sub     r2, r2, r1
        mov     r7, #4
        mov     r0, #1
        svc     #0
        cmp     r6, r8
        blo     print
done:
        mov     r0, #0
        b       exit
failed:
        mov     r0, #1
exit:
        mov     r7, #248
        svc     #0

# data
table:
        .space  4*LINES
buffer:
        .space  SIZE
