package commands

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/csv"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

const (
	// rowsShown is how many rows of a hunt the message shows; the file has all.
	rowsShown = 10
	// rowsShownOfEach is the same where several tenants are asked at once.
	rowsShownOfEach = 3
	// huntBytes bounds the file, which is held in memory until it is sent.
	huntBytes = 10 << 20
	// huntLimit is a little more than Defender itself allows a query.
	huntLimit = 4 * time.Minute
	// huntsPerHour is how many hunts a person has.
	huntsPerHour = 10
	// huntSign is how often a running hunt shows that it runs.
	huntSign = 3 * time.Second
)

func huntSpecs() []Spec {
	hunting := func(s Spec) Spec {
		s.Permissions, s.Audience, s.limit = [][]string{hunting}, chat.Personal, huntLimit
		s.busy = func(*call) chat.Text { return chat.Plain("Hunting …") }
		return s
	}
	return []Spec{
		hunting(Spec{
			Name: "hunt", Usage: "hunt <KQL>", Summary: "Run an advanced-hunting query; the result comes to you alone.",
			Role:     identity.Hunter,
			Examples: []string{"hunt DeviceNetworkEvents | where RemoteIP == \"203.0.113.9\" | take 20"},
			verbatim: true, asks: func(c *call) bool { return c.text == "" }, form: (*Router).huntForm,
			run: (*Router).hunt,
		}),
		hunting(Spec{
			Name: "run", Usage: "hunt run <saved> [name=value…] [--span 7d]", Summary: "Run a saved hunt; the result comes to you alone.",
			Role:     identity.Viewer, // and that of the hunt
			Flags:    []Flag{{Name: "span", Value: "7d", Summary: "how far back, at most 30d"}},
			Examples: []string{"hunt run logons machine=ws-042", "hunt run contacted-address ip=203.0.113.9 --span 30d"},
			asks:     lacksSavedHunt, form: (*Router).savedForm, run: (*Router).runSaved,
		}),
		{
			Name: "hunts", Usage: "hunt list", Summary: "List the saved hunts, those that run by themselves, and your last ones to run again.",
			Role: identity.Viewer, Audience: chat.Personal, Examples: []string{"hunt list"},
			run: (*Router).listHunts,
		},
	}
}

// huntVerb turns "hunt run …" into the saved hunt that it names, and "hunt list"
// into the list. No query begins like either.
func (r *Router) huntVerb(hunt *Spec, text string) (*Spec, string) {
	word, rest := firstWord(text)
	switch strings.ToLower(word) {
	case "run":
		return r.byName["run"], rest
	case "list":
		if strings.TrimSpace(rest) == "" {
			return r.byName["hunts"], ""
		}
	}
	return hunt, text
}

func (r *Router) hunt(ctx context.Context, c *call) (chat.Message, error) {
	if c.text == "" {
		return chat.Message{}, usageError(c, "The query is missing.")
	}
	return r.runQuery(ctx, c, c.text, "", func(ctx context.Context) (policy.HuntTables, error) {
		return r.Policy.Current().HuntTables(ctx, r.Groups, c.who.Person)
	})
}

// runQuery runs typed KQL, or that of the saved hunt of a name, as far as the
// tables it reads are granted.
func (r *Router) runQuery(ctx context.Context, c *call, typed, saved string, grant func(context.Context) (policy.HuntTables, error)) (chat.Message, error) {
	if r.scoped() {
		return chat.Message{}, errScopedHunt
	}
	query, limit, err := boundKQL(typed)
	if err != nil {
		return chat.Message{}, err
	}
	tables, err := r.mayRead(ctx, c, query, grant)
	if err != nil {
		return chat.Message{}, err
	}
	budget := string(r.Tenant) + " " + c.who.key() // Defender's quota is the tenant's
	if wait, ok := r.hunts.allow(budget); !ok {
		return chat.Message{}, say("Your hunts for this hour are used up: ten per person, so that quota is left for others.", again(wait))
	}
	sum := sha256.Sum256([]byte(query))
	if err := r.record(ctx, c, "hunt.run", "ok", map[string]string{
		"query": query, "query_sha256": hex.EncodeToString(sum[:]), "tables": strings.Join(tables, " "), "saved": saved,
	}); err != nil {
		return chat.Message{}, err
	}
	if err := r.History.KeepHunt(ctx, r.Tenant, c.who.Person.ID, PastHunt{Query: typed, Saved: saved, At: r.Now()}); err != nil {
		r.Logger.WarnContext(ctx, "hunt not kept to be run again", "error", err)
	}
	sink := r.sinkOf(c)
	stats, cancelled, err := r.hunting(ctx, c, query, sink)
	full := errors.Is(err, errFileFull)
	switch {
	case err != nil && cancelled:
		return chat.Message{}, say("The hunt was cancelled.", "What Defender has begun counts against the quota all the same.")
	case err != nil && !full:
		return chat.Message{}, huntSorry(typed, err)
	}
	r.recordHunt(ctx, c, stats)
	v := cards.HuntView{
		Query: typed, Saved: saved, Columns: sink.columns, Rows: sink.first, Total: int(sink.rows.Load()), Took: stats.Duration,
		Limit: limit, Retires: stats.RetiresAt, Left: r.hunts.left(budget), PerHour: huntsPerHour,
		Picture: cards.ChartOf(sink.columns, sink.kinds, sink.plotted()),
	}
	switch {
	case full || stats.Truncated == defender.TruncatedByBytes:
		v.Cut = "at " + strconv.FormatFloat(float64(sink.most)/(1<<20), 'f', -1, 64) + " MiB; there is more. Ask for fewer columns or rows."
	case stats.Truncated == defender.TruncatedByRows:
		v.Cut, v.Limit = "at the "+strconv.Itoa(huntRows)+" rows that mdebot reads; there are more.", 0
	}
	if v.Total > 0 {
		v.CSV = &chat.File{Name: "hunt-" + r.Now().UTC().Format("20060102-150405") + ".csv", Type: "text/csv", Content: sink.file.Bytes()}
	}
	return cards.Hunt(v), nil
}

// hunting runs a query and shows signs of life, or leaves that to whoever asks
// several tenants at once.
func (r *Router) hunting(ctx context.Context, c *call, query string, sink *huntSink) (_ defender.HuntStats, cancelled bool, _ error) {
	q := defender.HuntQuery{KQL: query, MaxRows: huntRows, MaxBytes: int64(sink.most)}
	if c.among != nil {
		stats, err := r.Hunter.Hunt(ctx, q, sink)
		return stats, c.among.running.yes(), err
	}
	ctx, one, ended := r.beginHunt(ctx, c)
	defer ended()
	defer signs(ctx, func(ctx context.Context, elapsed time.Duration) {
		c.out.Progress(ctx, cards.HuntRunning(int(sink.rows.Load()), elapsed, one.key))
	})()
	stats, err := r.Hunter.Hunt(ctx, q, sink)
	return stats, one.yes(), err
}

// mayRead resolves the tables of a query and refuses those that the asker has no
// right to. The refusal is recorded with the query.
func (r *Router) mayRead(ctx context.Context, c *call, query string, grant func(context.Context) (policy.HuntTables, error)) ([]string, error) {
	tables, err := tablesOf(kqlWords(query))
	if err == nil {
		err = r.granted(ctx, tables, grant)
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

func (r *Router) granted(ctx context.Context, tables []string, grant func(context.Context) (policy.HuntTables, error)) error {
	may, fault := grant(ctx)
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

// signs calls show every three seconds until the returned function is called.
func signs(ctx context.Context, show func(ctx context.Context, elapsed time.Duration)) (stop func()) {
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
				show(ctx, time.Since(started))
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
	kinds   []string
	first   [][]string
	plot    [][]string // as many as a picture may be drawn from, and one more
	rows    atomic.Int64
	most    int    // bytes of the file
	shown   int    // rows of the message
	tenant  string // a column of the file, where there are several
	file    bytes.Buffer
	csv     csv.Writer
}

// sinkOf takes the rows of one hunt. Several tenants asked at once share what one
// may have.
func (r *Router) sinkOf(c *call) *huntSink {
	s := &huntSink{most: huntBytes, shown: rowsShown}
	if c.among != nil {
		s.most, s.shown, s.tenant = huntBytes/c.among.tenants, rowsShownOfEach, r.tenantName
	}
	s.csv.W = &s.file
	return s
}

func (s *huntSink) Columns(columns []defender.Column) error {
	for _, c := range columns {
		s.columns, s.kinds = append(s.columns, c.Name), append(s.kinds, c.Type)
	}
	return s.write(s.columns, "Tenant")
}

func (s *huntSink) write(cells []string, tenant string) error {
	if s.tenant != "" {
		cells = slices.Concat([]string{tenant}, cells)
	}
	return s.csv.Write(cells)
}

func (s *huntSink) Row(cells []string) error {
	if s.file.Len() > s.most {
		return errFileFull
	}
	if len(s.first) < s.shown {
		s.first = append(s.first, slices.Clone(cells))
	}
	if len(s.columns) <= 5 && len(s.plot) <= cards.ChartRows {
		s.plot = append(s.plot, slices.Clone(cells))
	}
	s.rows.Add(1)
	return s.write(cells, s.tenant)
}

// plotted are the rows of a picture: all there are, or none.
func (s *huntSink) plotted() [][]string {
	if int(s.rows.Load()) != len(s.plot) {
		return nil
	}
	return s.plot
}

// huntSorry has one sentence for each way a query can fail.
func huntSorry(query string, err error) error {
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
		s.lines = faultLines(query, message)
		if strings.ContainsAny(query, "“”‘’") {
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

// faultAt finds where Defender says the fault is: "on line [2,15]", or "Line: 2,
// Position: 15".
var faultAt = regexp.MustCompile(`(?i)line:?\s*\[?(\d{1,4})(?:,|\s)+(?:position:?\s*)?(\d{1,5})`)

// faultWidth is how much of a line is shown before the fault, and after it.
const faultWidth = 60

// faultLines are the line of a query with the fault and a mark below its place;
// nothing when the message names none. The mark is led to by dashes, because
// clients drop spaces at the beginning of a line.
func faultLines(query, message string) []chat.Text {
	m := faultAt.FindStringSubmatch(message)
	if m == nil {
		return nil
	}
	number, _ := strconv.Atoi(m[1]) // digits
	column, _ := strconv.Atoi(m[2])
	lines := strings.Split(query, "\n")
	if number < 1 || number > len(lines) {
		return nil
	}
	line := []rune(strings.TrimRight(lines[number-1], "\r"))
	if column < 1 || column > len(line)+1 {
		return nil
	}
	from := max(0, column-1-faultWidth)
	shown := string(line[from:min(len(line), column-1+faultWidth)])
	// Every character takes one place, as in the mark below.
	shown = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, shown)
	return []chat.Text{
		chat.Plain(fmt.Sprintf("Line %d, character %d:", number, column)),
		chat.Code(shown),
		chat.Code(strings.Repeat("-", column-1-from) + "^"),
	}
}
