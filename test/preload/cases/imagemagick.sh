# SPDX-License-Identifier: MIT
# about: image operations with OpenMP threads: resize, blur, distort, quantize; png, jpeg, gif, tiff
# programs: /usr/bin/convert /usr/bin/identify
# packages: imagemagick
# set: long
# probe: /usr/bin/identify -version

run() {
    export OMP_NUM_THREADS=2
    local convert=/usr/bin/convert
    $convert -seed 7 -size 700x500 plasma:red-blue -depth 8 base.ppm
    $convert base.ppm -resize 180% -blur 0x4 -sharpen 0x2 -rotate 17 rgb:- | digest
    $convert base.ppm -distort Barrel '0.1 0.02 0 1' -swirl 90 -depth 8 rgb:- | digest
    $convert base.ppm -colors 24 -define png:exclude-chunks=date,time small.png
    $convert base.ppm -quality 80 image.jpg
    $convert image.jpg -crop 100x100 +repage tile%02d.gif
    $convert tile*.gif -append -strip -depth 8 ppm:- | digest
    $convert base.ppm -define tiff:rows-per-strip=16 -compress zip ppm:- | digest
    $convert base.ppm \( +clone -negate -modulate 120,80,40 \) -compose multiply -composite \
        -morphology Dilate Octagon -depth 8 rgb:- | digest
    /usr/bin/identify -format '%w %h %k %[mean]\n' base.ppm small.png image.jpg
    rm tile*.gif
}
