# arch: i386
# purpose: Takes memory with mmap, 1 MiB at a time, and writes to every page of it, until it is refused.
# args: how many MiB to take at most; none or 0: until the kernel says no
# stdin: not read
# stdout: how many MiB it got
# status: 0
# test: args="4" stdout="4 MiB\n"
# test: memory="16M" stdout~"1?[0-9] MiB\n"

        .equ    CHUNK, 0x100000

_start:
        call    parse_argument
        mov     [most], ecx
        mov     dword ptr [taken], 0
take:
        mov     eax, 192                // mmap2(0, CHUNK, read write, private anonymous, -1, 0)
        xor     ebx, ebx
        mov     ecx, CHUNK
        mov     edx, 3
        mov     esi, 0x22
        mov     edi, -1
        xor     ebp, ebp
        int     0x80
        cmp     eax, -4095
        jae     print
        lea     ecx, [eax + CHUNK]
touch:
        mov     [eax], eax
        add     eax, 4096
        cmp     eax, ecx
        jb      touch
        inc     dword ptr [taken]
        mov     eax, [taken]
        cmp     eax, [most]
        jne     take
print:
        mov     eax, [taken]
        call    print_number
        mov     eax, 4
        mov     ebx, 1
        lea     ecx, [unit]
        mov     edx, 5
        int     0x80
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

print_number:                           // eax: the number
        sub     esp, 40
        lea     ecx, [esp + 32]
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

unit:
        .ascii  " MiB\n"

# data
most:
        .long   0
taken:
        .long   0
