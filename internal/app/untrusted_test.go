package app

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ownWords are the functions whose text a renderer takes for mdebot's own, by the
// number of arguments that are text.
var ownWords = map[string]int{"Plain": 1, "Bold": 1, "Link": 1}

// outsideFields hold what somebody else wrote: Defender, a directory, a person, the
// configuration.
var outsideFields = strings.Fields(`Name Names Title Reason RequesterName PersonName MachineName Machine Tag Tags Group Comment Why Message Description
	Category Threat ThreatFamily Evidence Path CommandLine FileName FilePath Domain DomainName Email DisplayName AssignedTo Users User UserName Account
	Requestor Determination Value Values Text OS Vendor Product Publisher Issuer Signer Words Subject Query Columns Rows Cells Sentence Next Detail`)

// ourFields are fields of those names that hold mdebot's own words: the titles of
// its forms, the name of a command, what to do next.
var ourFields = strings.Fields(`cards/lists.go:Next cards/lookup.go:Why commands/sorry.go:Name slackbot/answer.go:Title teamsbot/render.go:Title`)

// TestUntrusted_isNeverPassedAsOurOwnWords is a lint: text from outside enters a
// message through chat.Untrusted or chat.Code. A field that holds it stands in no
// argument of chat.Plain, chat.Bold or chat.Link (threat-model X-01).
func TestUntrusted_isNeverPassedAsOurOwnWords(t *testing.T) {
	t.Parallel()
	calls := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "sandbox") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, texts := ownWordsCall(n)
			if call == nil {
				return true
			}
			calls++
			for _, arg := range call.Args[:texts] {
				for _, field := range outsideIn(arg) {
					if slices.Contains(ourFields, filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))+":"+field) {
						continue
					}
					t.Errorf("%s: %s holds text from outside and is passed as our own words", set.Position(arg.Pos()), field)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 200 {
		t.Errorf("%d calls were looked at; has the function another name now?", calls)
	}
}

func ownWordsCall(n ast.Node) (*ast.CallExpr, int) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil, 0
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil, 0
	}
	of, ok := f.X.(*ast.Ident)
	if !ok || of.Name != "chat" || ownWords[f.Sel.Name] == 0 {
		return nil, 0
	}
	return call, ownWords[f.Sel.Name]
}

// outsideIn lists the fields with text from outside that are in an expression. What
// a call returns is that function's business.
func outsideIn(e ast.Expr) []string {
	var found []string
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok {
				if of, ok := f.X.(*ast.Ident); ok && (of.Name == "fmt" || of.Name == "strings") {
					return true // these hand on what they get
				}
			}
			return false
		case *ast.SelectorExpr:
			if slices.Contains(outsideFields, n.Sel.Name) {
				found = append(found, n.Sel.Name)
			}
		}
		return true
	})
	return found
}
