package defendersim

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// page is one page of a list.
type page struct {
	Context  string `json:"@odata.context"`
	Count    *int   `json:"@odata.count,omitempty"`
	Value    any    `json:"value"`
	NextLink string `json:"@odata.nextLink,omitempty"`
}

// serveList filters, orders and pages the entities and writes the page; shape
// turns the entities of the page into what is marshalled.
func serveList[T any](w http.ResponseWriter, c call, set string, all []T, q query[T], shape func([]T) any) error {
	found := slices.DeleteFunc(slices.Clone(all), func(v T) bool { return !q.match(v) })
	slices.SortStableFunc(found, q.order)
	p := page{Context: metadata(set)}
	if q.count {
		n := len(found)
		p.Count = &n
	}
	found = found[min(q.skip, len(found)):]
	if q.top >= 0 {
		found = found[:min(q.top, len(found))]
	}
	if size := c.tenant.server.pageSize; len(found) > size {
		found = found[:size]
		p.NextLink = nextLink(c.Request, q.top, q.skip, size)
	}
	if f, ok := fault.From(c.Context()); ok {
		switch f.Kind {
		case ForeignNextLink:
			p.NextLink = "https://collector.attacker.example" + c.URL.RequestURI()
		case RepeatedNextLink:
			p.NextLink = here(c.Request) + c.URL.RequestURI()
		}
	}
	p.Value = shape(found)
	return writeJSON(w, http.StatusOK, p)
}

func here(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func nextLink(r *http.Request, top, skip, size int) string {
	values := url.Values{}
	for name, v := range r.URL.Query() {
		values[name] = v
	}
	values.Set("$skip", strconv.Itoa(skip+size))
	if top >= 0 {
		values.Set("$top", strconv.Itoa(top-size))
	}
	return here(r) + r.URL.Path + "?" + values.Encode()
}
