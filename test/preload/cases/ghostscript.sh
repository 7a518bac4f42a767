# SPDX-License-Identifier: MIT
# about: PostScript to pixels and to PDF, and the PDF to pixels and text: fonts, shadings, clips
# programs: gs
# packages: ghostscript
# set: long
# probe: gs -dNODISPLAY -dBATCH -q

prepare() {
    cat >"$INPUT/page.ps" <<'PS'
%!PS
/seed 7 def
/number { /seed seed 16807 mul 2147483647 mod cvi def seed exch mod } bind def
/Times-Roman findfont 9 scalefont setfont
1 1 6 {
    /page exch def
    0 1 400 {
        pop 500 number 30 add 700 number 40 add moveto
        gsave 256 number 255 div 256 number 255 div 256 number 255 div setrgbcolor
        360 number rotate (page and words ) show page 10 string cvs show grestore
    } for
    0 1 40 {
        pop gsave 400 number 50 add 600 number 50 add translate
        newpath 0 0 60 number 5 add 0 360 arc clip
        << /ShadingType 3 /ColorSpace /DeviceRGB /Coords [0 0 2 10 10 60] /Extend [true true]
           /Function << /FunctionType 2 /Domain [0 1] /N 1.3
               /C0 [256 number 255 div 0.2 0.9] /C1 [0.9 256 number 255 div 0.1] >> >> shfill
        grestore
    } for
    showpage
} for
PS
}

run() {
    local safe=(-q -dBATCH -dNOPAUSE -dSAFER)
    gs "${safe[@]}" -sDEVICE=png16m -r60 -dTextAlphaBits=4 -dGraphicsAlphaBits=4 -o page%d.png "$INPUT/page.ps"
    gs "${safe[@]}" -sDEVICE=pdfwrite -o "$TMPDIR/pages.pdf" "$INPUT/page.ps"
    gs "${safe[@]}" -sDEVICE=ppmraw -r50 -dNumRenderingThreads=2 -dBandHeight=60 -o - "$TMPDIR/pages.pdf" | digest
    gs "${safe[@]}" -sDEVICE=txtwrite -o text "$TMPDIR/pages.pdf"
    if gs "${safe[@]}" -sDEVICE=nullpage -c '1 0 div' >/dev/null 2>&1; then die "divided by zero"; fi
}
