package commands

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/csv"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// rowsShown is how many rows of a hunt the message shows; the file has all.
	rowsShown = 10
	// huntBytes bounds the file, which is held in memory until it is sent.
	huntBytes = 10 << 20
	// huntLimit is a little more than Defender itself allows a query.
	huntLimit = 4 * time.Minute
	// huntSign is how often a running hunt shows that it runs.
	huntSign = 3 * time.Second
)

func huntSpecs() []Spec {
	return []Spec{{
		Name: "hunt", Usage: "hunt <KQL>", Summary: "Run an advanced-hunting query; the result comes to you alone.",
		Role: identity.Hunter, Permissions: [][]string{hunting}, Audience: chat.Personal,
		Examples: []string{"hunt DeviceNetworkEvents | where RemoteIP == \"203.0.113.9\" | take 20"},
		verbatim: true, limit: huntLimit,
		busy: func(*call) chat.Text { return chat.Plain("Hunting …") },
		run:  (*Router).hunt,
	}}
}

func (r *Router) hunt(ctx context.Context, c *call) (chat.Message, error) {
	if c.text == "" {
		return chat.Message{}, usageError(c, "The query is missing.")
	}
	if _, scoped := r.Hunter.(nobodyHunts); scoped {
		return chat.Message{}, errScopedHunt
	}
	query, limit, err := boundKQL(c.text)
	if err != nil {
		return chat.Message{}, err
	}
	tables, err := r.mayRead(ctx, c, query)
	if err != nil {
		return chat.Message{}, err
	}
	if wait, ok := r.hunts.allow(c.who.key()); !ok {
		return chat.Message{}, say("Your hunts for this hour are used up: ten per person, so that quota is left for others.", again(wait))
	}
	sum := sha256.Sum256([]byte(query))
	if err := r.record(ctx, c, "hunt.run", "ok", map[string]string{"query": query, "query_sha256": hex.EncodeToString(sum[:]), "tables": strings.Join(tables, " ")}); err != nil {
		return chat.Message{}, err
	}
	sink := &huntSink{}
	sink.csv.W = &sink.file
	stop := r.showRunning(ctx, c, sink)
	stats, err := r.Hunter.Hunt(ctx, defender.HuntQuery{KQL: query, MaxRows: huntRows, MaxBytes: huntBytes}, sink)
	stop()
	full := errors.Is(err, errFileFull)
	if err != nil && !full {
		return chat.Message{}, huntSorry(c, err)
	}
	r.recordHunt(ctx, c, stats)
	v := cards.HuntView{
		Query: c.text, Columns: sink.columns, Rows: sink.first, Total: int(sink.rows.Load()), Took: stats.Duration,
		Limit: limit, Retires: stats.RetiresAt,
	}
	switch {
	case full || stats.Truncated == defender.TruncatedByBytes:
		v.Cut = "at 10 MiB; there is more. Ask for fewer columns or rows."
	case stats.Truncated == defender.TruncatedByRows:
		v.Cut, v.Limit = "at the "+strconv.Itoa(huntRows)+" rows that mdebot reads; there are more.", 0
	}
	if v.Total > 0 {
		v.CSV = &chat.File{Name: "hunt-" + r.Now().UTC().Format("20060102-150405") + ".csv", Type: "text/csv", Content: sink.file.Bytes()}
	}
	return cards.Hunt(v), nil
}

// mayRead resolves the tables of a query and refuses those that the asker has no
// right to. The refusal is recorded with the query.
func (r *Router) mayRead(ctx context.Context, c *call, query string) ([]string, error) {
	tables, err := tablesOf(kqlWords(query))
	if err == nil {
		err = r.granted(ctx, c, tables)
	}
	if err == nil {
		return tables, nil
	}
	var s *sorry
	if !errors.As(err, &s) {
		return nil, err
	}
	return nil, errors.Join(r.record(ctx, c, "hunt.refused", "refused", map[string]string{
		"query": query, "tables": strings.Join(tables, " "), "why": s.sentence.String(),
	}), err)
}

func (r *Router) granted(ctx context.Context, c *call, tables []string) error {
	may, fault := r.Policy.Current().HuntTables(ctx, r.Groups, c.who.Person)
	for _, t := range tables {
		if may.Allows(t) {
			continue
		}
		if fault != nil {
			r.Logger.WarnContext(ctx, "group membership could not be read and counts as none", "error", fault)
		}
		return sayOf("You may not read the table ", t, " from chat.", "Hunters read the device tables; an admin grants more under hunting in mdebot.yaml.")
	}
	return nil
}

// recordHunt keeps how much was read. The hunt itself is recorded before it runs.
func (r *Router) recordHunt(ctx context.Context, c *call, stats defender.HuntStats) {
	detail := map[string]string{"rows": strconv.Itoa(stats.Rows), "bytes": strconv.FormatInt(stats.Bytes, 10), "endpoint": string(stats.Endpoint)}
	if err := r.record(ctx, c, "hunt.ended", "ok", detail); err != nil {
		r.Logger.ErrorContext(ctx, "hunt's size not recorded", "error", err)
	}
}

// showRunning shows signs of life until the returned function is called.
func (r *Router) showRunning(ctx context.Context, c *call, sink *huntSink) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	started := time.Now()
	go func() {
		defer close(done)
		tick := time.NewTicker(huntSign)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				c.out.Progress(ctx, cards.HuntRunning(int(sink.rows.Load()), time.Since(started)))
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// errFileFull ends a hunt whose file has reached its bound.
var errFileFull = errors.New("the file is full")

// huntSink keeps the first rows and writes all of them into the file.
type huntSink struct {
	columns []string
	first   [][]string
	rows    atomic.Int64
	file    bytes.Buffer
	csv     csv.Writer
}

func (s *huntSink) Columns(columns []defender.Column) error {
	for _, c := range columns {
		s.columns = append(s.columns, c.Name)
	}
	return s.csv.Write(s.columns)
}

func (s *huntSink) Row(cells []string) error {
	if s.file.Len() > huntBytes {
		return errFileFull
	}
	if len(s.first) < rowsShown {
		s.first = append(s.first, slices.Clone(cells))
	}
	s.rows.Add(1)
	return s.csv.Write(cells)
}

// huntSorry has one sentence for each way a query can fail.
func huntSorry(c *call, err error) error {
	var api *defender.APIError
	message := ""
	if errors.As(err, &api) {
		message = api.Message
	}
	var throttled *defender.ThrottledError
	switch {
	case errors.Is(err, defender.ErrQuerySyntax):
		s := &sorry{sentence: chat.Plain("Defender refused the query."), next: chat.Plain("Try it in the Defender portal, which marks the fault.")}
		if message != "" {
			s.next = chat.Join(chat.Plain("It says: "), chat.Untrusted(message))
		}
		if strings.ContainsAny(c.text, "“”‘’") {
			s.next = chat.Join(chat.Plain("It holds curly quotation marks; KQL needs straight ones. "), s.next)
		}
		return s
	case errors.Is(err, defender.ErrResultTooLarge):
		return say("The result is larger than Defender returns.", "Ask for fewer columns with project, or fewer rows with limit.")
	case errors.Is(err, defender.ErrQueryTimedOut), errors.Is(err, context.DeadlineExceeded):
		return say("The query ran too long and was stopped.", "Narrow it: a shorter time first, then the rarest condition.")
	case errors.Is(err, defender.ErrQueryQuota):
		next := "Try again in some minutes. The quota is shared by the whole tenant."
		if errors.As(err, &throttled) {
			next = again(throttled.RetryAfter) + " The quota is shared by the whole tenant."
		}
		return say("The tenant's hunting quota is used up.", next)
	}
	return err
}
