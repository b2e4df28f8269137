# shellcheck shell=sh
PATH=/opt/noiseloom/bin:$PATH
export PATH
