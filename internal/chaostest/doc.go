// Package chaostest runs the real binary, built with failpoints, in a simulated
// world: people on both platforms ask, approve, deny and click twice, alerts
// arrive, and meanwhile processes are killed at every durable step, stopped and
// cut off from their database, and the services around them fail.
//
// What is judged is only what the simulators' own ledgers say: what Defender was
// made to do, what people were shown, and what the test's people really clicked.
// Never the bot's database or its log.
//
// A run is made of rounds, each with a seed of its own that decides who does what
// and which faults come. A round that fails prints the command that repeats it.
// Threads and sockets keep their own time, so a seed repeats the story and the
// faults, and nearly the moments.
//
//	go test ./internal/chaostest                          a short run
//	go test ./internal/chaostest -run Kills -chaos.kills=1000 -chaos.for=25m -v
package chaostest
