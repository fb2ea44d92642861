#!/usr/bin/env bash
# From scratch to a table: an environment, drawn faces, and the commands of README.md with the bundled mini models.
# It needs no GPU and no other download. Everything but the environment goes into ./demo. It can be rerun at any time: finished work is reused.
#   PYTHON=...      Python to build the environment with (>= 3.9)
#   S3POT_VENV=...  folder of the environment (default .venv); an active environment is used as it is
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root="$PWD"
# shellcheck source=tools/environment.sh
source tools/environment.sh
prepare_environment requirements.txt
case "$PY" in
    /*) ;;
    *) PY="$root/$PY" ;; # from an environment beside this file
esac
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p demo
cd demo

# step TITLE SCRIPT|-m MODULE ARGUMENTS...: runs one of the programs in ./demo and prints how long it took.
step() {
    local title="$1" start=$SECONDS
    shift
    [ "$1" = -m ] || set -- "../$1" "${@:2}"
    echo
    echo "== $title"
    echo "   python $*"
    "$PY" "$@"
    echo "   $((SECONDS - start)) s"
}

# Copies one drawn face from a folder as the single image for train_per_image.py.
pick_test_face() {
    local face stem
    for face in dataset/raw_images/val/*.png; do break; done
    stem="$(basename "$face" .png)"
    cp "$face" dataset/raw_images/test_01.png
    cp "dataset/truth/val/${stem}_occlusion.png" dataset/truth/test_01_occlusion.png
    cp "dataset/truth/val/${stem}_clean.png" dataset/truth/test_01_clean.png
}

mini=(--config mini)

step "draw 8 faces to train on" -m s3pot_synthetic \
    --out ./dataset --subdir train --count 8 --seed 0 --split train
step "draw 64 held-out faces" -m s3pot_synthetic \
    --out ./dataset --subdir val --count 64 --seed 0 --split bench
pick_test_face

step "1. references" generate_reference.py --input_dir ./dataset/raw_images \
    --output_dir ./dataset/processed_data --faceParser_name bisenet --truth_dir ./dataset/truth "${mini[@]}"
step "2. general adapter" train_general.py --datapath ./dataset/processed_data \
    --bsz 3 --lr 1e-4 --epochs 50 --output_dir ./checkpoint/train_general --resume "${mini[@]}" train.val_faces=2
step "3. per-image adapter" train_per_image.py --target_img ./dataset/processed_data/test_01.png \
    --ref_img ./dataset/processed_data/test_01_ref.png \
    --parsing_mask ./dataset/processed_data/test_01_parsing_mask.npy --epochs 100 "${mini[@]}"
step "4. masks of the held-out faces" inference.py --datapath ./dataset/processed_data/val \
    --checkpoint ./checkpoint/train_general/model_epoch_50.pth --output_dir ./results --save_vis "${mini[@]}"
step "5. scores" evaluate.py --datapath ./dataset/processed_data/val --results ./results "${mini[@]}"
step "6. table: baselines, ablations, true references" evaluate.py --suite ../configs/tables/demo.yaml \
    --output_dir results/demo "${mini[@]}"

echo
echo "done in $SECONDS s"
echo "table:    $PWD/results/demo/table.csv, table.md, per_image.csv"
echo "pictures: $PWD/results/index.html"
