# arch: x86_64
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
        lea     rbx, [rip + buffer]
        xor     ebp, ebp                // bytes read
read:
        xor     eax, eax
        xor     edi, edi
        lea     rsi, [rbx + rbp]
        mov     edx, SIZE
        sub     rdx, rbp
        jz      failed                  // full: too large
        syscall
        test    rax, rax
        js      failed
        jz      split
        add     rbp, rax
        jmp     read
split:
        test    rbp, rbp
        jz      done
        cmp     byte ptr [rbx + rbp - 1], 10
        je      complete
        mov     byte ptr [rbx + rbp], 10
        inc     rbp
complete:
        lea     r12, [rip + table]      // pointers to lines
        xor     r13d, r13d              // how many
        mov     rsi, rbx
        lea     rdi, [rbx + rbp]        // end
line:
        cmp     r13, LINES
        jae     failed
        mov     rdx, rsi                // the line to insert
        mov     rcx, r13
shift:
        test    rcx, rcx
        jz      insert
        mov     r8, [r12 + 8*rcx - 8]
        xor     r9d, r9d
compare:                                // is the line at r8 greater than the one at rdx?
        movzx   eax, byte ptr [r8 + r9]
        movzx   r10d, byte ptr [rdx + r9]
        inc     r9
        cmp     al, 10
        je      insert                  // the line at r8 ends first, or both do: not greater
        cmp     r10b, 10
        je      move
        cmp     al, r10b
        je      compare
        jb      insert
move:
        mov     [r12 + 8*rcx], r8
        dec     rcx
        jmp     shift
insert:
        mov     [r12 + 8*rcx], rdx
        inc     r13
skip:
        cmp     byte ptr [rsi], 10
        lea     rsi, [rsi + 1]
        jne     skip
        cmp     rsi, rdi
        jb      line
        xor     r14d, r14d
print:
        mov     rsi, [r12 + 8*r14]
        mov     rdx, rsi
measure:
        cmp     byte ptr [rdx], 10
        lea     rdx, [rdx + 1]
        jne     measure
        sub     rdx, rsi
        mov     eax, 1
        mov     edi, 1
        syscall
        inc     r14
        cmp     r14, r13
        jb      print
done:
        xor     edi, edi
        jmp     exit
failed:
        mov     edi, 1
exit:
        mov     eax, 231
        syscall

# data
table:
        .space  8*LINES
buffer:
        .space  SIZE
