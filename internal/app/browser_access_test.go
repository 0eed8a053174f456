package app

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// control is what assistive technology knows of an element.
type control struct {
	Role, Name, Description string
	Invalid, Required       bool
}

func (c control) String() string { return fmt.Sprintf("%s %q", c.Role, c.Name) }

// control asks the browser's accessibility tree for the element that an
// expression names.
func (b *browser) control(expression string) control {
	b.Helper()
	return b.controlIn(0, expression)
}

// controlIn is control in the world of a frame, or of the page itself, which is 0.
func (b *browser) controlIn(world runtime.ExecutionContextID, expression string) control {
	b.Helper()
	var out control
	err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		found, err := cdp.Call(ctx, tab, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ContextID: world})
		if err != nil {
			return err
		}
		if found.Result.ObjectID == "" {
			return nil // nothing is there
		}
		tree, err := cdp.Call(ctx, tab, accessibility.GetPartialAXTree, accessibility.GetPartialAXTreeParams{
			ObjectID: found.Result.ObjectID, FetchRelatives: new(bool),
		})
		if err != nil {
			return err
		}
		if len(tree.Nodes) == 0 || tree.Nodes[0].Ignored {
			return nil
		}
		n := tree.Nodes[0]
		out = control{Role: axText(n.Role), Name: axText(n.Name), Description: axText(n.Description)}
		for _, p := range n.Properties {
			switch p.Name {
			case "invalid":
				out.Invalid = axText(p.Value) == "true"
			case "required":
				out.Required = axText(p.Value) == "true"
			}
		}
		return nil
	}))
	if err != nil {
		b.Fatalf("look at %s with the accessibility tree: %v", expression, err)
	}
	return out
}

func axText(v *accessibility.Value) string {
	if v == nil || len(v.Value) == 0 {
		return ""
	}
	var out any
	if json.Unmarshal(v.Value, &out) != nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprint(out))
}

// is reads an expression of the page.
func is[V any](b *browser, expression string) V {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[V](expression))
	if err != nil {
		b.Fatalf("evaluate %s: %v", expression, err)
	}
	return v
}

// keys presses keys, in whatever has the focus. chromedp's own way sends the
// character apart from the key, so that a page which takes a key gets the character
// all the same: Enter would choose a suggestion and send the form.
func (b *browser) keys(keys string) {
	b.Helper()
	b.keysWith(0, keys)
}

// shift is the modifier of [browser.keysWith].
const shift = 8

// keysWith is keys while modifiers are held.
func (b *browser) keysWith(modifiers int64, keys string) {
	b.Helper()
	b.do("press "+keys, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		for _, r := range keys {
			events := kb.Encode(r)
			down, up := *events[0], *events[len(events)-1]
			if len(events) == 3 {
				down.Text, down.UnmodifiedText = events[1].Text, events[1].UnmodifiedText
			}
			for _, e := range []input.DispatchKeyEventParams{down, up} {
				e.Modifiers |= modifiers
				if _, err := cdp.Call(ctx, tab, input.DispatchKeyEvent, e); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// reachable is JavaScript for what can be reached with Tab inside an element, in
// the order of the document.
func reachable(root string) string {
	return fmt.Sprintf(`[...document.querySelector(%q).querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
		.filter(e => e.tabIndex >= 0 && !e.disabled && e.checkVisibility({visibilityProperty: true}) && !(e.type === 'radio' && !e.checked && e.closest('[role=radiogroup]').querySelector(':checked')))`, root)
}

// tabsThrough walks with Tab through everything inside an element, once around,
// and returns what was visited. Each has a role and a name, each lies below or
// beside the one before, and in a dialog the focus does not leave.
func (b *browser) tabsThrough(root string, trapped bool) []control {
	b.Helper()
	all := reachable(root)
	n := is[int](b, all+".length")
	if n == 0 {
		b.Fatalf("%s: nothing can be reached", root)
	}
	b.until("focus on the first", fmt.Sprintf("(%s[0].focus(), document.activeElement === %s[0])", all, all))
	var visited []control
	var last struct{ Top, Bottom, Left float64 }
	for i := range n {
		if i > 0 {
			b.keys(kb.Tab)
		}
		if at := is[int](b, all+".indexOf(document.activeElement)"); at != i {
			b.Fatalf("%s: Tab %d went to number %d of %d: %s", root, i, at, n, is[string](b, "document.activeElement.outerHTML.slice(0, 200)"))
		}
		c := b.control("document.activeElement")
		if c.Name == "" || c.Role == "" || c.Role == "generic" {
			b.Errorf("%s: control %d has the role %q and the name %q: %s", root, i, c.Role, c.Name, is[string](b, "document.activeElement.outerHTML.slice(0, 200)"))
		}
		box := is[struct{ Top, Bottom, Left float64 }](b, `(({top, bottom, left}) => ({Top: top, Bottom: bottom, Left: left}))(document.activeElement.getBoundingClientRect())`)
		// Scrolling moves what was visited, so only what lies in one line is compared
		// with more than its order in the document.
		if i > 0 && math.Abs(box.Top-last.Top) < 4 && box.Left < last.Left {
			b.Errorf("%s: %s stands before what Tab visits before it", root, c)
		}
		last = box
		visited = append(visited, c)
	}
	if trapped {
		for range 3 { // the browser's own bar may be between the last and the first
			b.keys(kb.Tab)
			if is[bool](b, all+"[0] === document.activeElement") {
				break
			}
			if !is[bool](b, fmt.Sprintf("document.activeElement === document.body || document.querySelector(%q).contains(document.activeElement)", root)) {
				b.Errorf("%s: Tab left the dialog for %s", root, b.control("document.activeElement"))
			}
		}
		if !is[bool](b, all+"[0] === document.activeElement") {
			b.Errorf("%s: Tab does not come back to the first control", root)
		}
	}
	return visited
}

// wantControls fails unless the controls are these, in this order.
func wantControls(t *testing.T, where string, got []control, want ...string) {
	t.Helper()
	var names []string
	for _, c := range got {
		names = append(names, c.String())
	}
	if g, w := strings.Join(names, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("%s has the controls\n%s\nwant\n%s", where, g, w)
	}
}
