package chaostest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// lanes is how many rounds run beside each other in the long form: most of a
// round is waiting.
const lanes = 2

func TestKills_sqlite(t *testing.T) {
	t.Parallel()
	runRounds(t, shape{kills: 40, wishes: 22, alarms: 12}, shape{kills: 12, wishes: 12, alarms: 4})
}

func TestKills_postgresTwoReplicas(t *testing.T) {
	t.Parallel()
	runRounds(t, shape{replicas: 2, kills: 60, wishes: 30, alarms: 12}, shape{replicas: 2, kills: 16, wishes: 12, alarms: 4})
}

// runRounds runs rounds of the long shape until enough kills are reached or the time
// is over, or one of the short shape.
func runRounds(t *testing.T, long, short shape) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	var all tally
	one := func(seed uint64, s shape) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			// Every other round, the services around fail too.
			s.troubles = rand.New(rand.NewPCG(seed, 3)).IntN(2) == 0
			r := newRound(t, seed, s)
			r.run()
			all.add(r)
		})
	}
	if *killsFlag == 0 {
		one(seed, short)
	} else {
		end := time.Now().Add(*forFlag)
		var next sync.Mutex
		var lane sync.WaitGroup
		for range lanes {
			lane.Go(func() {
				for all.total() < *killsFlag && time.Now().Before(end) {
					next.Lock()
					mine := seed
					seed++
					next.Unlock()
					one(mine, long)
				}
			})
		}
		lane.Wait()
	}
	t.Logf("%s", &all)
}
