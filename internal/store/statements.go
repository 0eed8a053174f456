package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"unicode"

	"modernc.org/sqlite"
)

// maxStatements is how many prepared statements a connection keeps. mdebot and
// River have fewer.
const maxStatements = 256

// openSQLitePool opens a pool whose connections keep what they have prepared:
// otherwise a quarter of all processor time goes into parsing the same few
// statements again.
func openSQLitePool(dsn string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(preparing{c}), nil
}

type preparing struct{ driver.Connector }

// Connect implements [driver.Connector].
func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &preparedConn{sqliteConn: c.(sqliteConn), kept: map[string]*keptStatement{}}, nil
}

// sqliteConn is what database/sql asks of SQLite's connections.
type sqliteConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// preparedConn is a connection that keeps its prepared statements. Like every
// [driver.Conn] it is used by one goroutine at a time, but several results may be
// open at once.
type preparedConn struct {
	sqliteConn
	kept map[string]*keptStatement
}

type keptStatement struct {
	statement
	busy bool // its result is open
}

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// ExecContext implements [driver.ExecerContext].
func (c *preparedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	return s.ExecContext(ctx, args)
}

// QueryContext implements [driver.QueryerContext].
func (c *preparedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &keptRows{Rows: rows, of: s}, nil
}

// keptRows gives its statement back when it is closed.
type keptRows struct {
	driver.Rows
	of *keptStatement
}

func (r *keptRows) Close() error {
	r.of.busy = false
	return r.Rows.Close()
}

// prepared is the statement of a query, or nil when the query is to be run without:
// it is none that comes again, or its statement has an open result.
func (c *preparedConn) prepared(ctx context.Context, query string) (*keptStatement, error) {
	if s := c.kept[query]; s != nil {
		if s.busy {
			return nil, nil
		}
		return s, nil
	}
	if !comesAgain(query) {
		return nil, nil
	}
	if len(c.kept) == maxStatements {
		if err := c.forget(); err != nil {
			return nil, err
		}
	}
	fresh, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s := &keptStatement{statement: fresh.(statement)}
	c.kept[query] = s
	return s, nil
}

// forget closes every statement that has no open result.
func (c *preparedConn) forget() error {
	var errs []error
	for query, s := range c.kept {
		if !s.busy {
			errs = append(errs, s.Close())
			delete(c.kept, query)
		}
	}
	return errors.Join(errs...)
}

// Close implements [driver.Conn].
func (c *preparedConn) Close() error {
	return errors.Join(c.forget(), c.sqliteConn.Close())
}

// comesAgain tells statements on data from those that set up a connection or
// change the schema.
func comesAgain(query string) bool {
	query = strings.TrimLeft(query, " \t\n")
	for strings.HasPrefix(query, "--") { // River names its statements
		_, query, _ = strings.Cut(query, "\n")
		query = strings.TrimLeft(query, " \t\n")
	}
	end := strings.IndexFunc(query, unicode.IsSpace)
	if end < 0 {
		return false
	}
	switch strings.ToUpper(query[:end]) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return true
	}
	return false
}
