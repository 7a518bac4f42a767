# SPDX-License-Identifier: MIT
# about: video and audio made by filters, encoded with threads, decoded again, frame by frame digests
# programs: ffmpeg
# packages: ffmpeg
# set: long
# probe: ffmpeg -version

run() {
    local quiet=(ffmpeg -nostdin -v error -y) exact=(-fflags +bitexact -flags +bitexact)
    "${quiet[@]}" -f lavfi -i testsrc2=size=480x270:rate=25:duration=4 \
        -f lavfi -i sine=frequency=330:duration=4 "${exact[@]}" \
        -c:v mpeg4 -threads 2 -qscale:v 4 -c:a flac one.mkv
    "${quiet[@]}" -threads 2 -i one.mkv -vf 'scale=320:180,hue=h=60,noise=alls=5:all_seed=3,boxblur=2' \
        -af 'aecho,aresample=22050' "${exact[@]}" -f framemd5 two.md5
    if [[ $(ffmpeg -v quiet -encoders) == *libx264* ]]; then
        "${quiet[@]}" -i one.mkv "${exact[@]}" -c:v libx264 -threads 1 -preset veryfast -an -f h264 - | digest
    fi
    "${quiet[@]}" -i one.mkv -vf 'fps=2,palettegen=max_colors=32' "${exact[@]}" palette.png
    "${quiet[@]}" -i one.mkv -i palette.png -lavfi 'fps=5,scale=160:-1[x];[x][1:v]paletteuse' "${exact[@]}" out.gif
    ffprobe -v error -show_format -show_streams -bitexact one.mkv
}
