src/go.mod
module example.com/x

go 1.21

require (
	a.b/c v1.2.3 // indirect
	d.e/f v0.0.0-20200101000000-abcdef123456
)
replace a.b/c => ../c
