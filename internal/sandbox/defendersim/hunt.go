package defendersim

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// What one hunt may return.
const (
	maxRows        = 100000
	maxResult      = 124 << 20 // bytes, on the Defender endpoint
	maxGraphResult = 50 << 20
	huntDays       = 30
)

// huntDefender serves POST /api/advancedqueries/run.
func huntDefender(w http.ResponseWriter, c call) error {
	var query string
	if err := decodeBody(c.Request, map[string]any{"Query": &query}); err != nil {
		return err
	}
	now := c.tenant.server.now()
	return c.tenant.hunt(w, query, window{now.Add(-huntDays * 24 * time.Hour), now}, maxResult, huntShape{"Schema", "Results", "Name", "Type"})
}

// huntGraph serves POST /v1.0/security/runHuntingQuery, whose property names are
// taken in either case.
func huntGraph(w http.ResponseWriter, c call) error {
	var query, span string
	if err := decodeBody(c.Request, map[string]any{"Query": &query, "query": &query, "Timespan": &span, "timespan": &span}); err != nil {
		return err
	}
	seen, ok := timespan(span, c.tenant.server.now())
	if !ok {
		return badRequest("BadRequest", "Timespan '%s' is not a valid ISO 8601 time interval.", span)
	}
	return c.tenant.hunt(w, query, seen, maxGraphResult, huntShape{"schema", "results", "name", "type"})
}

// huntShape is how the two endpoints spell the keys of the answer.
type huntShape struct{ schema, results, name, kind string }

func (t *Tenant) hunt(w http.ResponseWriter, query string, seen window, limit int64, shape huntShape) error {
	if strings.TrimSpace(query) == "" {
		return badRequest("BadRequest", "Query is empty.")
	}
	result, err := runHunt(query, t.server.now(), func(name string) (Table, bool) { return t.table(name, seen) })
	if err != nil {
		return err
	}
	result.Rows = first(result.Rows, maxRows)
	// The size is known only after the rows were encoded once. They are encoded
	// again rather than kept, since a result may be larger than the program.
	var size counter
	if err := shape.write(&size, result); err != nil {
		return err
	}
	if int64(size) > limit {
		return badRequest("BadRequest", "Query execution has exceeded the allowed result size. Optimize your query by limiting the number of results and try again")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	return shape.write(w, result)
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func (s huntShape) write(w io.Writer, t Table) error {
	b := bufio.NewWriter(w)
	columns := make([]map[string]string, len(t.Columns))
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = map[string]string{s.name: c.Name, s.kind: c.Type}
		names[i] = encode(c.Name) + ":"
	}
	_, _ = b.WriteString(`{"` + s.schema + `":` + encode(columns) + `,"` + s.results + `":[`)
	separator := ""
	for row := range t.Rows {
		_, _ = b.WriteString(separator + "{")
		separator = ","
		for i, cell := range row {
			if i > 0 {
				_ = b.WriteByte(',')
			}
			_, _ = b.WriteString(names[i])
			raw, err := json.Marshal(wire(cell))
			if err != nil {
				return err
			}
			_, _ = b.Write(raw)
		}
		_ = b.WriteByte('}')
	}
	_, _ = b.WriteString("]}")
	return b.Flush()
}

// wire is how a cell travels: times as Defender writes them, bool as SByte.
func wire(cell any) any {
	switch v := cell.(type) {
	case time.Time:
		return estate.At(v)
	case bool:
		if v {
			return 1
		}
		return 0
	}
	return cell
}

var isoDuration = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$`)

// timespan reads the window of a Graph hunt: a duration, a start, or two of
// start, end and duration parted by a slash. Empty means thirty days.
func timespan(text string, now time.Time) (window, bool) {
	if text == "" {
		return window{now.Add(-huntDays * 24 * time.Hour), now}, true
	}
	left, right, both := strings.Cut(text, "/")
	start, isStart := moment(left)
	length, isLength := duration(left)
	if !both {
		if isStart {
			return window{start, now}, true
		}
		return window{now.Add(-length), now}, isLength
	}
	end, isEnd := moment(right)
	after, isAfter := duration(right)
	switch {
	case isStart && isEnd:
		return window{start, end}, true
	case isLength && isEnd:
		return window{end.Add(-length), end}, true
	case isStart && isAfter:
		return window{start, start.Add(after)}, true
	}
	return window{}, false
}

func moment(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func duration(text string) (time.Duration, bool) {
	parts := isoDuration.FindStringSubmatch(text)
	if parts == nil || text == "P" || strings.HasSuffix(text, "T") {
		return 0, false
	}
	var total time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi(parts[i+1])
		total += time.Duration(n) * unit
	}
	return total, true
}

// HuntQuota is the fault of a tenant whose hunting quota is used up, on one of
// the two hunting routes.
func HuntQuota(route string, times int) fault.Fault {
	e := &apiError{code: "TooManyRequests", message: "You have exceeded the allowed query resources of your tenant. Try again in the next 15-minute cycle."}
	return fault.Fault{
		Kind: fault.Answer, Route: route, Times: times,
		Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"900"}}, Body: e.body(),
	}
}
