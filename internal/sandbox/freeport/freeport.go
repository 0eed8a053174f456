// Package freeport finds addresses for programs that have to know theirs before they
// listen, or get the same one again when they are started again.
package freeport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports below those that Linux hands out by itself, to outgoing connections and to
// whoever asks for any port: nobody gets one of them between here and there by chance.
const first, many = 15_000, 15_000

// Address is a loopback address where nobody listens, host:port.
func Address(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	var last error
	for range 100 {
		l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(many)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
		last = err
	}
	return "", errors.Join(errors.New("no port is free"), last)
}
