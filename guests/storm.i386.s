# arch: i386
# purpose: Calls getppid again and again: what a system call costs. Counts in the word at the symbol `calls`.
# args: the number of calls; none or 0: for ever
# stdin: not read
# stdout: the number of calls
# status: 0
# test: args="1" stdout="1\n"
# test: args="1000" stdout="1000\n"
# test: endless

_start:
        call    parse_argument
        mov     esi, ecx                // edi:esi: calls left; 0 wraps round: for ever
        xor     edi, edi
storm:
        mov     eax, 64                 // getppid()
        int     0x80
        add     dword ptr [calls], 1
        adc     dword ptr [calls + 4], 0
        sub     esi, 1
        sbb     edi, 0
        mov     eax, esi
        or      eax, edi
        jnz     storm
        mov     eax, [calls]
        call    print_number
        mov     eax, 252
        xor     ebx, ebx
        int     0x80

parse_argument:                         // the first argument as a number in ecx; 0 when there is none
        xor     ecx, ecx
        cmp     dword ptr [esp + 4], 2
        jb      parsed
        mov     edx, [esp + 12]
parse:
        movzx   eax, byte ptr [edx]
        sub     eax, 48
        cmp     eax, 9
        ja      parsed
        imul    ecx, ecx, 10
        add     ecx, eax
        inc     edx
        jmp     parse
parsed:
        ret

print_number:                           // eax: the number; a newline follows
        sub     esp, 40
        lea     ecx, [esp + 31]
        mov     byte ptr [ecx], 10
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
calls:
        .quad   0
