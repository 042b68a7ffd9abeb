# arch: i386
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
        xor     ebp, ebp                // bytes read
read:
        mov     eax, 3
        xor     ebx, ebx
        lea     ecx, [buffer + ebp]
        mov     edx, SIZE
        sub     edx, ebp
        jz      failed                  // full: too large
        int     0x80
        test    eax, eax
        js      failed
        jz      split
        add     ebp, eax
        jmp     read
split:
        test    ebp, ebp
        jz      done
        cmp     byte ptr [buffer + ebp - 1], 10
        je      complete
        mov     byte ptr [buffer + ebp], 10
        inc     ebp
complete:
        add     ebp, [buffer_address]   // end
        xor     edi, edi                // lines in the table
        lea     esi, [buffer]           // the line to insert
line:
        cmp     edi, LINES
        jae     failed
        mov     ecx, edi
shift:
        test    ecx, ecx
        jz      insert
        mov     edx, [table + 4*ecx - 4]
        mov     ebx, esi
        push    edx
compare:                                // is the line at edx greater than the one at esi?
        mov     al, [edx]
        mov     ah, [ebx]
        inc     edx
        inc     ebx
        cmp     al, 10
        je      smaller                 // the line at edx ends first, or both do: not greater
        cmp     ah, 10
        je      move
        cmp     al, ah
        je      compare
        jb      smaller
move:
        pop     edx
        mov     [table + 4*ecx], edx
        dec     ecx
        jmp     shift
smaller:
        pop     edx
insert:
        mov     [table + 4*ecx], esi
        inc     edi
skip:
        cmp     byte ptr [esi], 10
        lea     esi, [esi + 1]
        jne     skip
        cmp     esi, ebp
        jb      line
        xor     esi, esi
print:
        mov     ecx, [table + 4*esi]
        mov     edx, ecx
measure:
        cmp     byte ptr [edx], 10
        lea     edx, [edx + 1]
        jne     measure
        sub     edx, ecx
        mov     eax, 4
        mov     ebx, 1
        int     0x80
        inc     esi
        cmp     esi, edi
        jb      print
done:
        xor     ebx, ebx
        jmp     exit
failed:
        mov     ebx, 1
exit:
        mov     eax, 252
        int     0x80

# data
buffer_address:
        .long   buffer
table:
        .space  4*LINES
buffer:
        .space  SIZE
