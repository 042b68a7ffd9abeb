# arch: i386
# purpose: Counts lines, words and bytes; a word is a run of bytes that are neither blank, tab nor line end.
# args: none
# stdin: anything, to its end
# stdout: three numbers, separated by blanks
# status: 0; 1 when a read fails
# test: stdin="" stdout="0 0 0\n"
# test: stdin="one two\n  three\n\nfour" stdout="3 4 21\n"
# test: stdin="\n\n\n" stdout="3 0 3\n"

_start:
        xor     esi, esi                // lines
        xor     edi, edi                // words
        xor     ebp, ebp                // bytes
        xor     ebx, ebx                // 1 within a word
read:
        push    ebx
        mov     eax, 3
        xor     ebx, ebx
        lea     ecx, [buffer]
        mov     edx, 65536
        int     0x80
        pop     ebx
        test    eax, eax
        js      failed
        jz      print
        add     ebp, eax
        lea     ecx, [buffer]
        lea     edx, [ecx + eax]        // end of what was read
byte_loop:
        movzx   eax, byte ptr [ecx]
        inc     ecx
        cmp     al, 10
        jne     no_line
        inc     esi
        jmp     gap
no_line:
        cmp     al, 32
        je      gap
        cmp     al, 9
        je      gap
        test    ebx, ebx
        jnz     byte_next
        mov     ebx, 1
        inc     edi
        jmp     byte_next
gap:
        xor     ebx, ebx
byte_next:
        cmp     ecx, edx
        jne     byte_loop
        jmp     read
print:
        mov     eax, esi
        mov     dl, 32
        call    print_number
        mov     eax, edi
        mov     dl, 32
        call    print_number
        mov     eax, ebp
        mov     dl, 10
        call    print_number
        xor     ebx, ebx
        jmp     exit
failed:
        mov     ebx, 1
exit:
        mov     eax, 252
        int     0x80

print_number:                           // eax: the number, dl: the byte to print after it
        sub     esp, 40
        lea     ecx, [esp + 31]
        mov     [ecx], dl
        mov     ebx, 10
digit:
        xor     edx, edx
        div     ebx
        add     dl, 48
        dec     ecx
        mov     [ecx], dl
        test    eax, eax
        jnz     digit
        lea     edx, [esp + 32]
        sub     edx, ecx
        mov     eax, 4
        mov     ebx, 1
        int     0x80
        add     esp, 40
        ret

# data
buffer:
        .space  65536
