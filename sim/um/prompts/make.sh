#!/bin/sh
# Speaks the lines of texts.txt into the WAV files beside it (espeak-ng, sox).
set -e
cd "$(dirname "$0")"
while IFS=: read -r name text; do
	espeak-ng -v en-us -s 165 --stdout "$text" |
		sox -t wav - -r 8000 -c 1 -e mu-law "$name.wav" silence 1 0.02 0.3% reverse silence 1 0.02 0.3% reverse gain -n -6
done <texts.txt
