// The host: main [MILLISECONDS a tick]. Keeps the time and the paper.
#include "shapes.h"

#include <cstdlib>
#include <exception>
#include <iostream>

HR_TABLE(shapes, SHAPES_FUNCTIONS)

int main(int count, char **arguments)
{
    int pause = count > 1 ? std::atoi(arguments[1]) : 1000;
    paper page;
    hr_host *host;
    hr_desc desc = HR_DESC(shapes, "$ORIGIN/libshapes.so");
    hr_result now = hr_open(&host, &desc);

    while (now.code != HR_FAILED) {
        std::size_t before = page.lines.size();

        now = hr_poll(host); // the safe point
        try {
            if (now.generation) shapes.shapes_tick(static_cast<drawing *>(now.state), &page);
        } catch (const std::exception &error) { // of the plugin: through the table as through any call
            page.lines.push_back(std::string("an exception: ") + error.what());
        }
        for (std::size_t i = before; i < page.lines.size(); i++)
            std::cout << page.lines[i] << " (line " << i + 1 << ")" << std::endl;
        hr_wait(host, pause); // a reload ends the wait
    }
    std::cerr << "shapes: " << now.text << std::endl;
    return 1;
}
