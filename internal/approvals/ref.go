package approvals

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Ref names one target of one request at one generation: what a job is about.
type Ref struct {
	Tenant     tenant.ID
	Request    string
	Index      int
	Generation int64
}

// String is "<request ID>/<target index>", the ID of jobs and of the targets of
// settlements.
func (r Ref) String() string { return r.Request + "/" + strconv.Itoa(r.Index) }

// ParseRef reads the target that a job of containment is about.
func ParseRef(job durable.Job) (Ref, error) {
	request, index, ok := strings.Cut(job.ID, "/")
	i, err := strconv.Atoi(index)
	if !ok || err != nil || request == "" || i < 0 {
		return Ref{}, fmt.Errorf("job ID %q is not <request>/<target>", job.ID)
	}
	return Ref{Tenant: job.Tenant, Request: request, Index: i, Generation: job.Generation}, nil
}

func refOf(r Request, t Target) Ref {
	return Ref{Tenant: r.Tenant, Request: r.ID, Index: t.Index, Generation: t.Generation}
}

func (r Ref) job(kind string) durable.Job {
	return durable.Job{Tenant: r.Tenant, Kind: kind, ID: r.String(), Generation: r.Generation, Unique: true}
}
