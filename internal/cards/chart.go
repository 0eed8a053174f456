package cards

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-analyze/charts"

	"github.com/mdebot/mdebot/internal/chat"
)

// What a picture of a result holds.
const (
	chartWidth  = 900
	chartHeight = 420
	// ChartRows is how many rows a picture is drawn from; a result of more has none.
	ChartRows = 500
	barsMost  = 15
	linesMost = 4
	chartName = 32 // characters of a label
)

// ChartOf draws a result that is a time series or a ranking, and is nil for any
// other. kinds are the types of the columns as Defender names them. The picture
// has a ground of its own, so it can be read in a light and in a dark client.
func ChartOf(columns, kinds []string, rows [][]string) *chat.Picture {
	if len(rows) < 2 || len(rows) > ChartRows || len(columns) < 2 || len(columns) != len(kinds) {
		return nil
	}
	switch {
	case kinds[0] == "DateTime" && len(rows) > 2:
		return lineChart(columns, kinds, rows)
	case kinds[0] == "String" && len(columns) == 2 && numeric(kinds[1]):
		return barChart(columns, rows)
	}
	return nil
}

func numeric(kind string) bool {
	switch kind {
	case "Int64", "Int32", "Double", "Long", "Real", "Int", "Decimal":
		return true
	}
	return false
}

// chartLabel is outside text in a picture.
func chartLabel(s string) string {
	if s == "" {
		return "(empty)"
	}
	return within(chat.Visible(s, 0), chartName)
}

func barChart(columns []string, rows [][]string) *chat.Picture {
	type bar struct {
		label string
		value float64
	}
	var bars []bar
	for _, row := range rows {
		v, err := strconv.ParseFloat(row[1], 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		bars = append(bars, bar{chartLabel(row[0]), v})
	}
	slices.SortStableFunc(bars, func(a, b bar) int {
		switch {
		case a.value > b.value:
			return -1
		case a.value < b.value:
			return 1
		}
		return 0
	})
	alt := fmt.Sprintf("Bar chart of %s by %s", chartLabel(columns[1]), chartLabel(columns[0]))
	if len(bars) > barsMost {
		alt += fmt.Sprintf(", the highest %d of %d", barsMost, len(bars))
		bars = bars[:barsMost]
	}
	var said []string
	title := chartLabel(columns[1]) + " by " + chartLabel(columns[0])
	native := &chat.Chart{Title: title, Series: []chat.Series{{Name: chartLabel(columns[1])}}}
	labels, values := make([]string, len(bars)), make([]float64, len(bars))
	for i, b := range bars {
		native.Points = append(native.Points, b.label)
		native.Series[0].Values = append(native.Series[0].Values, b.value)
		// Bars are drawn from below.
		labels[len(bars)-1-i], values[len(bars)-1-i] = b.label, b.value
		if i < 5 {
			said = append(said, b.label+" "+number(b.value))
		}
	}
	opt := charts.NewBarChartOptionWithData([][]float64{values})
	opt.Horizontal = true
	opt.Title = charts.TitleOption{Text: title}
	opt.CategoryAxis.Labels = labels
	opt.Legend.Show = charts.Ptr(false)
	opt.ValueFormatter = number
	return picture(alt+": "+strings.Join(said, ", "), native, func(p *charts.Painter) error { return p.BarChart(opt) })
}

func lineChart(columns, kinds []string, rows [][]string) *chat.Picture {
	type point struct {
		at     time.Time
		values []float64
	}
	var lines []int
	for i := 1; i < len(columns); i++ {
		if !numeric(kinds[i]) {
			return nil
		}
		lines = append(lines, i)
	}
	if len(lines) > linesMost {
		return nil
	}
	var points []point
	for _, row := range rows {
		at, err := time.Parse(time.RFC3339Nano, row[0])
		if err != nil {
			return nil
		}
		p := point{at: at.UTC()}
		for _, i := range lines {
			v, err := strconv.ParseFloat(row[i], 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return nil
			}
			p.values = append(p.values, v)
		}
		points = append(points, p)
	}
	slices.SortStableFunc(points, func(a, b point) int { return a.at.Compare(b.at) })
	first, last := points[0].at, points[len(points)-1].at
	format := "02 Jan 15:04"
	if last.Sub(first) >= 72*time.Hour {
		format = "02 Jan"
	}
	values, labels := make([][]float64, len(lines)), make([]string, len(points))
	var names, said []string
	for n, i := range lines {
		names = append(names, chartLabel(columns[i]))
		high := points[0]
		for _, p := range points {
			values[n] = append(values[n], p.values[n])
			if p.values[n] > high.values[n] {
				high = p
			}
		}
		said = append(said, fmt.Sprintf("%s, highest %s at %s", names[n], number(high.values[n]), high.at.Format("2006-01-02 15:04 UTC")))
	}
	for i, p := range points {
		labels[i] = p.at.Format(format)
	}
	opt := charts.NewLineChartOptionWithData(values)
	native := &chat.Chart{Title: strings.Join(names, ", ") + " (UTC)", Lines: true, Points: labels}
	for n, name := range names {
		native.Series = append(native.Series, chat.Series{Name: name, Values: values[n]})
	}
	opt.Title = charts.TitleOption{Text: native.Title}
	opt.XAxis.Labels = labels
	opt.Legend = charts.LegendOption{SeriesNames: names, Show: charts.Ptr(len(lines) > 1)}
	opt.ValueFormatter = number
	alt := fmt.Sprintf("Line chart of %d points from %s to %s: %s", len(points), first.Format("2006-01-02 15:04 UTC"), last.Format("2006-01-02 15:04 UTC"), strings.Join(said, "; "))
	return picture(alt, native, func(p *charts.Painter) error { return p.LineChart(opt) })
}

// number is a value as people read it.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// picture draws on a canvas. One that cannot be drawn is left out: the table says
// the same.
func picture(alt string, chart *chat.Chart, draw func(*charts.Painter) error) *chat.Picture {
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputPNG, Width: chartWidth, Height: chartHeight, Theme: charts.GetTheme(charts.ThemeLight)})
	if err := draw(p); err != nil {
		return nil
	}
	png, err := p.Bytes()
	if err != nil {
		return nil
	}
	return &chat.Picture{PNG: png, Alt: alt, Chart: chart}
}
