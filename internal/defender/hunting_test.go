package defender

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// table keeps a whole result.
type table struct {
	columns []Column
	rows    [][]string
	fail    error // returned for the first row
}

func (s *table) Columns(c []Column) error {
	if s.columns != nil {
		return errors.New("columns came twice")
	}
	s.columns = c
	return nil
}

func (s *table) Row(cells []string) error {
	if s.columns == nil {
		return errors.New("a row came before the columns")
	}
	s.rows = append(s.rows, append([]string(nil), cells...))
	return s.fail
}

const graphPath, defenderPath = "POST /v1.0/security/runHuntingQuery", "POST /api/advancedqueries/run"

func TestHunt_onGraph(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle(graphPath, answer(200, `{"@odata.context":"x",
		"schema":[{"name":"Timestamp","type":"DateTime"},{"Name":"ReportId","Type":"Int64"},{"name":"Name","type":"String"},{"name":"Extra","type":"Object"},{"name":"Ok","type":"Boolean"}],
		"results":[
			{"Name":"a \"q\" \u00e9, {}[]\\", "ReportId":9223372036854775807, "Timestamp":"2026-11-21T00:00:00.1234567Z", "Extra":{"k" : [1, "}"]}, "Ok":true},
			{"ReportId":1e3,"Name":null,"Unknown":[1,{"a":"]"}],"Extra":"{\"k\":1}","Ok":false},
			{}
		],"more":{"x":[1]}}`))
	c, _ := f.client(t)
	var got table
	stats, err := c.Hunt(t.Context(), HuntQuery{KQL: `DeviceInfo | where Name == "é"`}, &got)
	if err != nil {
		t.Fatalf("Hunt() = %v", err)
	}
	want := table{
		columns: []Column{{"Timestamp", "DateTime"}, {"ReportId", "Int64"}, {"Name", "String"}, {"Extra", "Object"}, {"Ok", "Boolean"}},
		rows: [][]string{
			{"2026-11-21T00:00:00.1234567Z", "9223372036854775807", `a "q" é, {}[]\`, `{"k":[1,"}"]}`, "true"},
			{"", "1e3", "", `{"k":1}`, "false"},
			{"", "", "", "", ""},
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(table{})); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if stats.Endpoint != HuntOnGraph || stats.Rows != 3 || stats.Bytes == 0 || !stats.RetiresAt.IsZero() || stats.Truncated != Complete {
		t.Errorf("stats = %+v", stats)
	}
	if got := string(f.seen()[0].Body); got != `{"Query":"DeviceInfo | where Name == \"é\""}` {
		t.Errorf("body = %s", got)
	}
}

func TestHunt_onDefenderWithOnlyTheOldPermission(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.roles[commercialGraph] = nil
	f.mux.Handle(defenderPath, answer(200, `{"Schema":[{"Name":"A","Type":"String"}],"Results":[{"A":"x"}]}`))
	c, _ := f.client(t)
	var got table
	stats, err := c.Hunt(t.Context(), HuntQuery{KQL: "x"}, &got)
	if err != nil || len(got.rows) != 1 {
		t.Fatalf("Hunt() = %v, %v", got.rows, err)
	}
	if stats.Endpoint != HuntOnDefender || stats.RetiresAt.Format(time.DateOnly) != "2027-02-01" {
		t.Errorf("stats = %+v", stats)
	}
}

func TestHunt_withoutPermission(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.roles = map[string][]string{commercialAudience: {PermissionMachineRead}}
	c, _ := f.client(t)
	_, err := c.Hunt(t.Context(), HuntQuery{KQL: "x"}, &table{})
	var api *APIError
	if !errors.As(err, &api) || api.Permission != PermissionHuntGraph || !errors.Is(err, ErrForbidden) {
		t.Errorf("Hunt() = %v, want ErrForbidden for %s", err, PermissionHuntGraph)
	}
	if len(f.seen()) != 0 {
		t.Error("a hunt without permission was sent")
	}
}

func TestHunt_failures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    error
	}{
		{"a syntax error", answer(400, `{"error":{"code":"BadRequest","message":"Query could not be parsed at 'wher' on line [1,14]"}}`), ErrQuerySyntax},
		{"too much", answer(400, `{"error":{"code":"BadRequest","message":"Query execution has exceeded the allowed result size. Optimize your query"}}`), ErrResultTooLarge},
		{"a gateway that gave up", answer(504, `{"error":{"code":"UnknownError","message":""}}`), ErrQueryTimedOut},
		{"a query that timed out", answer(400, `{"error":{"code":"BadRequest","message":"Query execution timed out"}}`), ErrQueryTimedOut},
		{"quota", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "60")
			answer(429, `{"error":{"code":"429"}}`)(w, r)
		}, ErrQueryQuota},
		{"403", answer(403, `{}`), ErrForbidden},
		{"500", answer(500, `{}`), ErrUnavailable},
		{"HTML", answer(200, `<html></html>`), ErrUnavailable},
		{"an empty body", answer(200, ``), ErrUnavailable},
		{"an error with status 200", answer(200, `{"error":{"code":"x"}}`), ErrUnavailable},
		{"a body that breaks off", answer(200, `{"schema":[{"name":"A","type":"String"}],"results":[{"A":"x"},{"A"`), ErrUnavailable},
		{"rows that are no rows", answer(200, `{"schema":[{"name":"A"}],"results":[1]}`), ErrUnavailable},
		{"results that are no list", answer(200, `{"schema":[],"results":{}}`), ErrUnavailable},
	}
	kinds := []error{ErrQuerySyntax, ErrResultTooLarge, ErrQueryTimedOut, ErrQueryQuota}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.mux.HandleFunc(graphPath, tt.handler)
			c, _ := f.client(t)
			_, err := c.Hunt(t.Context(), HuntQuery{KQL: "x"}, &table{})
			if !errors.Is(err, tt.want) {
				t.Errorf("Hunt() = %v, want %v", err, tt.want)
			}
			for _, k := range kinds {
				if !errors.Is(tt.want, k) && errors.Is(err, k) {
					t.Errorf("Hunt() = %v is also %v", err, k)
				}
			}
			if n := len(f.seen()); n != 1 {
				t.Errorf("requests = %d, want 1", n)
			}
		})
	}
}

func TestHunt_timeLimit(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	done := make(chan struct{})
	f.mux.HandleFunc(graphPath, func(http.ResponseWriter, *http.Request) { <-done })
	t.Cleanup(func() { close(done) })
	c, _ := f.client(t)
	if _, err := c.Permissions(t.Context()); err != nil { // tokens first: the limit below is tight
		t.Fatal(err)
	}
	if _, err := c.Hunt(t.Context(), HuntQuery{KQL: "x", Timeout: 20 * time.Millisecond}, &table{}); !errors.Is(err, ErrQueryTimedOut) {
		t.Errorf("Hunt() = %v, want ErrQueryTimedOut", err)
	}
}

func TestHunt_limits(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc(graphPath, func(w http.ResponseWriter, _ *http.Request) { writeRows(w, 1000, 2) })
	c, _ := f.client(t)
	tests := []struct {
		name  string
		query HuntQuery
		want  Truncation
		rows  int // -1 = some
	}{
		{"all of it", HuntQuery{}, Complete, 1000},
		{"exactly as many rows as wanted", HuntQuery{MaxRows: 1000}, Complete, 1000},
		{"one row less", HuntQuery{MaxRows: 999}, TruncatedByRows, 999},
		{"few bytes", HuntQuery{MaxBytes: 5000}, TruncatedByBytes, -1},
		{"hardly any byte", HuntQuery{MaxBytes: 1}, TruncatedByBytes, 0},
		{"limits below zero", HuntQuery{MaxRows: -1, MaxBytes: -1}, Complete, 1000},
	}
	for _, tt := range tests {
		var got table
		stats, err := c.Hunt(t.Context(), tt.query, &got)
		if err != nil || stats.Truncated != tt.want || stats.Rows != len(got.rows) || (tt.rows >= 0 && stats.Rows != tt.rows) || (tt.rows < 0 && stats.Rows == 0) {
			t.Errorf("%s: Hunt() = %+v, %v with %d rows, want %q and %d", tt.name, stats, err, len(got.rows), tt.want, tt.rows)
		}
	}
}

func TestHunt_rowsBeforeSchema(t *testing.T) {
	t.Parallel()
	var got table
	r := rowReader{sink: &got, max: 10}
	_, err := r.read(strings.NewReader(`{"results":[{"B":"1","A":"2"},{"A":"3"}],"schema":[{"name":"A"},{"name":"B"}]}`))
	want := table{columns: []Column{{Name: "B"}, {Name: "A"}}, rows: [][]string{{"1", "2"}, {"", "3"}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(table{})); diff != "" || err != nil {
		t.Errorf("read() = %v (-want +got):\n%s", err, diff)
	}
}

func TestHunt_sinkEndsIt(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc(graphPath, func(w http.ResponseWriter, _ *http.Request) { writeRows(w, 10, 1) })
	c, _ := f.client(t)
	full := errors.New("the disk is full")
	_, err := c.Hunt(t.Context(), HuntQuery{KQL: "x"}, &table{fail: full})
	if !errors.Is(err, full) || errors.Is(err, ErrUnavailable) {
		t.Errorf("Hunt() = %v, want the error of the sink", err)
	}
}

func TestHunt_repeatedAfterAShortRefusal(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	n := 0
	f.mux.HandleFunc(graphPath, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
			return
		}
		writeRows(w, 1, 1)
	})
	c, _ := f.client(t)
	if _, err := c.Hunt(t.Context(), HuntQuery{KQL: "x"}, &table{}); err != nil || n != 2 {
		t.Errorf("Hunt() = %v after %d requests, want success after 2", err, n)
	}
}

// writeRows streams a result without holding it.
func writeRows(w io.Writer, rows, columns int) {
	out := bufio.NewWriter(w)
	defer out.Flush()
	separated := func(n int, each func(i int)) {
		for i := range n {
			if i > 0 {
				fmt.Fprint(out, ",")
			}
			each(i)
		}
	}
	fmt.Fprint(out, `{"schema":[`)
	separated(columns, func(c int) { fmt.Fprintf(out, `{"name":"Column%02d","type":"String"}`, c) })
	fmt.Fprint(out, `],"results":[`)
	separated(rows, func(r int) {
		fmt.Fprint(out, `{`)
		separated(columns, func(c int) { fmt.Fprintf(out, `"Column%02d":"value %06d"`, c, r) })
		fmt.Fprint(out, `}`)
	})
	fmt.Fprint(out, `]}`)
}

// counter keeps nothing.
type counter struct{ cells int }

func (s *counter) Columns([]Column) error { return nil }
func (s *counter) Row(cells []string) error {
	s.cells += len(cells)
	return nil
}

// BenchmarkHunt reads 100,000 rows of 20 columns over HTTP and reports by how
// much the peak of resident memory grew. Server and client share the process, so
// the figure is an upper bound.
func BenchmarkHunt(b *testing.B) {
	f := newFake(b)
	f.mux.HandleFunc(graphPath, func(w http.ResponseWriter, _ *http.Request) { writeRows(w, 100_000, 20) })
	c, k := f.client(b)
	if _, err := c.Permissions(b.Context()); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	before := resident(b)
	peak := before
	b.ReportAllocs()
	for b.Loop() {
		k.advance(time.Minute)
		var sink counter
		stats, err := c.Hunt(b.Context(), HuntQuery{KQL: "x", MaxRows: maxHuntRows, MaxBytes: maxHuntBytes}, &sink)
		if err != nil || stats.Truncated != Complete || sink.cells != 2_000_000 {
			b.Fatalf("Hunt() = %+v, %v with %d cells", stats, err, sink.cells)
		}
		b.SetBytes(stats.Bytes)
		peak = max(peak, resident(b))
	}
	b.ReportMetric(float64(peak-before)/(1<<20), "MiB-growth")
}

// resident is the peak of this process's resident memory, in bytes.
func resident(b *testing.B) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc on this system")
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(kib)[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n << 10
		}
	}
	b.Skip("no VmHWM on this system")
	return 0
}

// Only the current row stays on the heap, however many there are.
func TestHunt_memoryIsBounded(t *testing.T) { //nolint:paralleltest // measures the heap of the process
	const rows = 2_000
	row := `{"A":"` + strings.Repeat("x", 10_000) + `"}`
	body := []io.Reader{strings.NewReader(`{"schema":[{"name":"A"}],"results":[` + row)}
	for range rows - 1 {
		body = append(body, strings.NewReader(","+row[:1]), strings.NewReader(row[1:]))
	}
	body = append(body, strings.NewReader(`]}`))
	sink := &heapWatch{}
	r := rowReader{sink: sink, max: rows}
	if _, err := r.read(io.MultiReader(body...)); err != nil || r.rows != rows {
		t.Fatalf("read() = %v after %d rows", err, r.rows)
	}
	if growth := sink.peak - sink.first; growth > 4<<20 {
		t.Errorf("live heap grew by %d MiB over 20 MB of rows", growth>>20)
	}
}

type heapWatch struct {
	rows        int
	first, peak uint64
}

func (s *heapWatch) Columns([]Column) error { return nil }

func (s *heapWatch) Row([]string) error {
	if s.rows++; s.rows%500 == 1 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if s.first == 0 {
			s.first = m.HeapAlloc
		}
		s.peak = max(s.peak, m.HeapAlloc)
	}
	return nil
}
