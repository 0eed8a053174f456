package app

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// refusers make what people are told when something is not done; their last argument
// is the next step.
var refusers = map[string]bool{"say": true, "sayOf": true, "plainSorry": true, "usageError": true, "refuse": true}

// Every refusal says what to do instead.
func TestRefusals_sayTheNextStep(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, name := range []string{"commands", "approvals", "links"} {
		files, err := filepath.Glob(filepath.Join("..", name, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				next, refuses := nextStep(n)
				if !refuses {
					return true
				}
				seen++
				if lit, ok := next.(*ast.BasicLit); next == nil || ok && strings.TrimSpace(strings.Trim(lit.Value, "\"`")) == "" {
					t.Errorf("%s: a refusal without a next step", set.Position(n.Pos()))
				}
				return true
			})
		}
	}
	if seen < 150 {
		t.Errorf("%d refusals were found, want all of them", seen)
	}
}

// nextStep is what a refusal says to do instead; nil when it says nothing.
func nextStep(n ast.Node) (next ast.Expr, refuses bool) {
	switch n := n.(type) {
	case *ast.CallExpr:
		name, _ := n.Fun.(*ast.Ident)
		if name == nil || !refusers[name.Name] || len(n.Args) < 2 {
			return nil, false
		}
		return n.Args[len(n.Args)-1], true
	case *ast.CompositeLit:
		kind, _ := n.Type.(*ast.Ident)
		if kind == nil || kind.Name != "Refusal" || len(n.Elts) == 0 {
			return nil, false
		}
		for _, e := range n.Elts {
			pair, keyed := e.(*ast.KeyValueExpr)
			if !keyed {
				return n.Elts[len(n.Elts)-1], true
			}
			if key, _ := pair.Key.(*ast.Ident); key != nil && key.Name == "Next" {
				return pair.Value, true
			}
		}
		return nil, true
	}
	return nil, false
}
