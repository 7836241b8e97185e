# Run by /bin/sh as: sh -c THIS guard FOLDER COMMAND...
#
# Becomes COMMAND, a server, after leaving behind a guard that outlives whoever started it. The guard reads
# what is our standard input: a word means that the server has been stopped, an end without a word that
# whoever held the other end is dead. Then nobody is left to stop the server or to clean up.
folder=$1
shift
exec 3<&0 </dev/null

# The second pair of parentheses hands the guard to init, so that the server has no child it does not know.
(
    (
        trap '' HUP INT TERM
        read -r word && exit
        # Stopped, it can fork no more: the list is complete.
        kill -STOP $$
        kill -KILL $(cat /proc/$$/task/$$/children || pgrep -P $$) $$
        # Whichever guard is first removes the folder, so it releases everybody's shared memory: the
        # system keeps what still is in use until it no longer is.
        for lock in "$folder"/*/postmaster.pid; do
            memory=$(sed -n 7p "$lock")
            ipcrm -m "${memory##* }"
        done
        # Servers that other guards are about to kill may still write there.
        for _ in 1 2 3 4 5; do rm -rf "$folder" && exit; sleep 1; done
    ) <&3 >/dev/null 2>&1 &
)
exec 3<&-
exec "$@"
