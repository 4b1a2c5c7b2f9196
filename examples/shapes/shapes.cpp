// The plugin: what shapes are and do.
#include "shapes.h"

#include "drawing.h"

HR_STATE(shapes, drawing)

namespace {

// What a shape does. Objects of these classes are made for a call, around the data in the state: so their virtual
// functions are always the newest ones.
class behaviour {
public:
    virtual ~behaviour() = default;
    virtual std::string name() const = 0;
    virtual double area() const = 0;
    virtual void move() { it.angle = std::fmod(it.angle + 0.1, 6.2831853); }

protected:
    explicit behaviour(shape &data) : it(data) {}
    shape &it;
};

class round : public behaviour {
public:
    explicit round(shape &data) : behaviour(data) {}
    std::string name() const override { return "a circle"; } // edit, save
    double area() const override { return 3.1415927 * it.size * it.size; }
};

class square : public behaviour {
public:
    explicit square(shape &data) : behaviour(data) {}
    std::string name() const override { return "a box"; }
    double area() const override { return it.size * it.size; }
    void move() override
    {
        behaviour::move();
        it.size = 2.0 + 0.5 * std::sin(it.angle);
    }
};

std::unique_ptr<behaviour> of(shape &data)
{
    switch (data.what) {
    case kind::circle: return std::make_unique<round>(data);
    case kind::box: return std::make_unique<square>(data);
    }
    return nullptr;
}

template <class Range, class Function> auto sum(Range &range, Function value)
{
    decltype(value(*range.begin())) total{};

    for (auto &each : range) total += value(each);
    return total;
}

shape made(kind what, double size, double angle)
{
    shape one{};

    one.what = what;
    one.size = size;
    one.angle = angle;
    return one;
}

} // namespace

void shapes_tick(drawing *now, paper *page)
{
    auto area = [](shape &each) { return of(each)->area(); };
    std::ostringstream line;

    if (!now->shapes.count) {
        now->shapes.add(made(kind::circle, 1.0, 0.0));
        now->shapes.add(made(kind::box, 2.0, 0.5));
        now->shapes.add(made(kind::circle, 0.5, 1.0));
    }
    now->ticks++;
    line.precision(3);
    line << "tick " << now->ticks << ":";
    for (shape &each : now->shapes) {
        auto self = of(each);

        self->move();
        line << ' ' << self->name() << " of " << self->area() << " at " << each.angle << ',';
    }
    line << " in all " << sum(now->shapes, area);
    page->lines.push_back(line.str());
}
