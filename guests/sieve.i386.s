# arch: i386
# purpose: The sieve of Eratosthenes over a table in memory: integer work with many stores.
# args: none
# stdin: not read
# stdout: how many primes there are below 100000
# status: 0
# test: stdout="9592\n"

        .equ    LIMIT, 100000

_start:
        lea     esi, [composite]
        mov     ecx, 2                  // candidate
        xor     edi, edi                // primes found
candidate:
        cmp     byte ptr [esi + ecx], 0
        jne     not_prime
        inc     edi
        cmp     ecx, 317                // its square is beyond the limit, and beyond 32 bits later on
        jae     not_prime
        mov     edx, ecx
        imul    edx, ecx
strike:
        cmp     edx, LIMIT
        jae     not_prime
        mov     byte ptr [esi + edx], 1
        add     edx, ecx
        jmp     strike
not_prime:
        inc     ecx
        cmp     ecx, LIMIT
        jb      candidate
        mov     eax, edi
        call    print_number
        mov     eax, 252
        xor     ebx, ebx
        int     0x80

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
composite:
        .space  LIMIT
