#!/bin/sh
# Makes the cluster of databases when the volume has none yet, and becomes the server.
set -eu
programs=/usr/lib/postgresql/15/bin

if ! [ -e /data/cluster ]; then
    # Whole or not at all: what was broken off is made anew.
    rm -rf /data/new
    "$programs/initdb" --pgdata=/data/new --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth=scram-sha-256 --pwfile=/dev/stdin <<END
$PASSWORD
END
    mv /data/new /data/cluster
fi
exec "$programs/postgres" -D /data/cluster -c config_file=/config/postgresql.conf
