package app

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// hung is a process in which everything hangs that can: an isolation that took
// effect, the alerts, a machine that somebody asked for and Slack.
func hung(t *testing.T, machine string) *outside {
	t.Helper()
	p := newOutside(t, sandbox.Options{})
	p.serve()
	p.connected()
	card := p.request(p.slack(), p.teams(), sandbox.Riley, sandbox.Avery, machine, "while everything hangs")
	p.world.Defender.Faults.Add(fault.Fault{Kind: fault.ActHang, Route: isolateRoute, Times: 1})
	p.teams().click(sandbox.Avery, card, "Approve")
	p.hangs(fault.ActHang)
	p.world.Defender.Faults.Add(fault.Fault{Kind: fault.Hang, Route: "GET /api/**"})
	p.slack().write(sandbox.Riley, sandbox.SlackSOC, "machine ws-030")
	p.teams().write(sandbox.Riley, sandbox.TeamsSOC, "machine ws-031")
	p.world.Slack.Inject(slacksim.Fault{Kind: slacksim.FaultHang, Delay: time.Minute, Times: -1})
	p.hangs(fault.Hang)
	return p
}

// hangs waits until Defender keeps a call waiting.
func (p *outside) hangs(k fault.Kind) {
	p.Helper()
	p.eventually("Defender hangs", func() string {
		if p.world.Defender.Faults.Used(k) == 0 {
			return "not yet"
		}
		return ""
	})
}

// goesOn starts the process again in a healthy world and finds that the isolation
// happened once.
func (p *outside) goesOn(machine string) {
	p.Helper()
	p.world.Defender.Faults.Clear()
	p.world.Slack.ClearFaults()
	p.serve()
	p.sees(p.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate "+machine+".corp.contoso.com – isolated")
	p.sees(p.teams(), sandbox.Avery, sandbox.TeamsApprovals, "isolate "+machine+".corp.contoso.com – isolated")
	p.wantIsolations(1)
	if n := len(p.world.Defender.Calls(isolateRoute)); n != 1 {
		p.Errorf("%d isolate calls, want 1", n)
	}
	p.kill()
	if got := run(p.T, p.env, "", "db", "check"); got.code != exitOK {
		p.Errorf("db check: exit code %d, %s%s", got.code, got.stdout, got.stderr)
	}
}

func TestProcess_stopsInTimeWhileEverythingHangs(t *testing.T) {
	t.Parallel()
	p := hung(t, "ws-094")
	asked := time.Now()
	p.signal(syscall.SIGTERM)
	err := p.cmd.Wait()
	took := time.Since(asked)
	p.cmd = nil
	if err != nil || took > 20*time.Second {
		t.Errorf("after SIGTERM it took %s, %v; want exit code 0 within 20s\n%s", took, err, p.log)
	}
	t.Logf("stopped in %s", took.Round(time.Millisecond))
	p.goesOn("ws-094")
}

func TestProcess_secondSIGTERMStopsAtOnce(t *testing.T) {
	t.Parallel()
	p := hung(t, "ws-095")
	p.signal(syscall.SIGTERM)
	p.eventually("the process drains", func() string {
		if !strings.Contains(p.log.String(), `"stopping"`) {
			return p.log.String()
		}
		return ""
	})
	p.signal(syscall.SIGTERM)
	err := p.cmd.Wait()
	p.cmd = nil
	var ended *exec.ExitError
	if !errors.As(err, &ended) || !ended.Sys().(syscall.WaitStatus).Signaled() {
		t.Errorf("after the second SIGTERM it ended with %v, want the end by that signal", err)
	}
	p.goesOn("ws-095")
}

// A database that keeps every statement waiting cannot hold up a restart either.
func TestProcess_stopsInTimeWhileTheDatabaseHangs(t *testing.T) {
	t.Parallel()
	all, lb := newReplicas(t, 1, sandbox.Options{})
	p := all[0]
	card := p.request(p.slack(), p.teams(), sandbox.Riley, sandbox.Avery, "ws-096", "while the database hangs")
	database, _ := setting(p.env, "MDEBOT_DATABASE_URL")
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE replicas, audit_heads, pace, river_job IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	p.clickQuietly(p.teams(), sandbox.Avery, card, "Approve")
	p.eventually("the database is named as degraded", func() string {
		if r := p.readyz(p.admin); !r.Ready || !slices.Contains(r.Degraded, "Database") {
			return fmt.Sprint(r)
		}
		return ""
	})
	asked := time.Now()
	p.signal(syscall.SIGTERM)
	_ = p.cmd.Wait() // whether it could say goodbye is not the point
	took := time.Since(asked)
	p.cmd = nil
	if took > 25*time.Second {
		t.Errorf("after SIGTERM it took %s, want 20s and the time to be scheduled", took)
	}
	t.Logf("stopped in %s", took.Round(time.Millisecond))
	if err := conn.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.serve()
	lb.only(p)
	p.pressed(p.teams(), sandbox.Avery, card, "Approve", "pprov")
	p.sees(p.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-096.corp.contoso.com – isolated")
	p.wantIsolations(1)
}
