# arch: i386
# purpose: Prints a line, works for a while, prints the next: a console that moves.
# args: how many lines (none or 0: for ever), then how many turns of work between them (default 1000000)
# stdin: not read
# stdout: the lines "count N", from 1 on
# status: 0
# test: args="3 10" stdout="count 1\ncount 2\ncount 3\n"
# test: args="1" stdout="count 1\n"
# test: endless

_start:
        xor     esi, esi                // lines left; 0 wraps round: for ever
        mov     edi, 1000000            // turns
        mov     ebp, esp
        cmp     dword ptr [ebp], 2      // argc
        jb      ready
        mov     edx, [ebp + 8]
        call    parse_number
        mov     esi, ecx
        cmp     dword ptr [ebp], 3
        jb      ready
        mov     edx, [ebp + 12]
        call    parse_number
        mov     edi, ecx
ready:
        xor     ebp, ebp                // the count
line:
        inc     ebp
        mov     eax, ebp
        call    print_line
        dec     esi
        jz      done
        mov     ecx, edi
        inc     ecx
work:
        dec     ecx
        jnz     work
        jmp     line
done:
        mov     eax, 252
        xor     ebx, ebx
        int     0x80

parse_number:                           // edx: text; the number in ecx
        xor     ecx, ecx
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

print_line:                             // eax: the number; one write, so that lines stay whole
        sub     esp, 40
        lea     ecx, [esp + 39]
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
        sub     ecx, 6
        mov     dword ptr [ecx], 0x6e756f63
        mov     word ptr [ecx + 4], 0x2074
        lea     edx, [esp + 40]
        sub     edx, ecx
        mov     eax, 4
        mov     ebx, 1
        int     0x80
        add     esp, 40
        ret
