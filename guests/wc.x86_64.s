# arch: x86_64
# purpose: Counts lines, words and bytes; a word is a run of bytes that are neither blank, tab nor line end.
# args: none
# stdin: anything, to its end
# stdout: three numbers, separated by blanks
# status: 0; 1 when a read fails
# test: stdin="" stdout="0 0 0\n"
# test: stdin="one two\n  three\n\nfour" stdout="3 4 21\n"
# test: stdin="\n\n\n" stdout="3 0 3\n"

_start:
        xor     r12d, r12d              // lines
        xor     r13d, r13d              // words
        xor     r14d, r14d              // bytes
        xor     r15d, r15d              // 1 within a word
read:
        xor     eax, eax
        xor     edi, edi
        lea     rsi, [rip + buffer]
        mov     edx, 65536
        syscall
        test    rax, rax
        js      failed
        jz      print
        add     r14, rax
        lea     rsi, [rip + buffer]
        lea     rbx, [rsi + rax]        // end of what was read
byte_loop:
        movzx   eax, byte ptr [rsi]
        inc     rsi
        cmp     al, 10
        jne     no_line
        inc     r12
        jmp     gap
no_line:
        cmp     al, 32
        je      gap
        cmp     al, 9
        je      gap
        test    r15, r15
        jnz     byte_next
        mov     r15d, 1
        inc     r13
        jmp     byte_next
gap:
        xor     r15d, r15d
byte_next:
        cmp     rsi, rbx
        jne     byte_loop
        jmp     read
print:
        mov     rax, r12
        mov     cl, 32
        call    print_number
        mov     rax, r13
        mov     cl, 32
        call    print_number
        mov     rax, r14
        mov     cl, 10
        call    print_number
        xor     edi, edi
        jmp     exit
failed:
        mov     edi, 1
exit:
        mov     eax, 231
        syscall

print_number:                           // rax: the number, cl: the byte to print after it
        sub     rsp, 40
        lea     rsi, [rsp + 31]
        mov     [rsi], cl
        mov     edi, 10
digit:
        xor     edx, edx
        div     rdi
        add     dl, 48
        dec     rsi
        mov     [rsi], dl
        test    rax, rax
        jnz     digit
        lea     rdx, [rsp + 32]
        sub     rdx, rsi
        mov     eax, 1
        mov     edi, 1
        syscall
        add     rsp, 40
        ret

# data
buffer:
        .space  65536
